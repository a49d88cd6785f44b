//! The Admin API's shapes over a real loopback listener.

use super::{
    super::tests::{Served, TOKEN, serve},
    cursor::Cursor,
    money::{cents, spend_cents},
};
use crate::kernel::{
    ids::{RequestId, ShardId},
    keys::Principal,
    money::Nanos,
    record::{Outcome, Record, inline},
    time::UnixMs,
    usage::Usage,
};
use serde_json::{Value, json};

/// 2025-11-21T12:00:00Z
const NOON: u64 = 1_763_726_400;

fn record(api: &Served, n: u64, team: &str, user: &str, at: u64) -> Record {
    let principal =
        Principal { key: format!("key-{team}"), user: user.into(), team: team.into(), ..Principal::default() };
    Record {
        request_id: RequestId::new(at * 1000, ShardId(0), n),
        started_at: UnixMs(at * 1000),
        ended_at: UnixMs(at * 1000 + 5),
        principal: Some(api.names.principal(&principal)),
        model_served: inline(b"claude-sonnet-4-6"),
        upstream: Some(api.names.name("main")),
        outcome: Outcome::Completed,
        status: 200,
        usage: Usage { input: 1000, output: 10, cache_read: 7, web_search: 1, ..Usage::default() },
        cost: Nanos(3_150_003),
        ..Record::default()
    }
}

/// Three days, two teams.
fn served() -> Served {
    let api = serve();
    for n in 0..6 {
        let (team, user) = if n % 2 == 0 { ("a", "ann@example.com") } else { ("b", "bob") };
        let record = record(&api, n, team, user, NOON + n / 2 * 86_400 + n * 60);
        api.state.ledger.write().apply(&record);
    }
    api
}

fn with_key(api: &Served, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, Value, Option<String>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", api.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(()).unwrap()).unwrap();
    let id = answer.headers().get("request-id").map(|id| id.to_str().unwrap().to_owned());
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")), id)
}

fn get(api: &Served, path: &str) -> (u16, Value) {
    let (status, answer, id) = with_key(api, "GET", &format!("/v1/organizations/{path}"), &[("x-api-key", TOKEN)]);
    assert!(id.is_some_and(|id| id.starts_with("req_")), "{path}");
    (status, answer)
}

fn refused(api: &Served, path: &str) -> String {
    let (status, answer) = get(api, path);
    assert_eq!((status, &answer["error"]["type"]), (400, &"invalid_request_error".into()), "{path}: {answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn nobody_without_the_token_reads_a_report_and_the_error_has_another_shape() {
    let api = served();
    let path = "/v1/organizations/cost_report?starting_at=2025-11-21T00:00:00Z";
    let bearer = format!("Bearer {TOKEN}");
    for headers in [&[("x-api-key", TOKEN)][..], &[("authorization", bearer.as_str())]] {
        assert_eq!(with_key(&api, "GET", path, headers).0, 200);
    }
    for headers in [&[][..], &[("x-api-key", "wrong")], &[("authorization", "Bearer wrong"), ("x-api-key", TOKEN)]] {
        let (status, answer, id) = with_key(&api, "GET", path, headers);
        let error = json!({"type": "authentication_error", "message": answer["error"]["message"]});
        assert_eq!((status, answer), (401, json!({"type": "error", "error": error, "request_id": id.unwrap()})));
    }
    let (status, answer) = get(&api, "nothing");
    assert_eq!((status, &answer["error"]["type"]), (404, &"not_found_error".into()));
    let (status, answer, _) = with_key(&api, "POST", "/v1/organizations/spend_limits", &[("x-api-key", TOKEN)]);
    assert!(status == 405 && answer["error"]["message"].as_str().unwrap().contains("[[budget]]"), "{answer}");
    // The rest of the admin API takes it as bearer only.
    assert_eq!(with_key(&api, "GET", "/admin/v1/usage", &[("x-api-key", TOKEN)]).0, 401);
}

#[test]
fn a_usage_item_has_exactly_the_fields_of_the_admin_api() {
    let api = served();
    let (_, report) = get(
        &api,
        "usage_report/messages?starting_at=2025-11-21T23:59:00Z&ending_at=2025-11-22T00:00:00Z&beta=true\
         &group_by[]=model&group_by[]=workspace_id&workspace_ids[]=a",
    );
    let item = json!({
        "account_id": null, "api_key_id": null,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": 7, "context_window": null, "inference_geo": null,
        "model": "claude-sonnet-4-6", "output_tokens": 10, "server_tool_use": {"web_search_requests": 1},
        "service_account_id": null, "service_tier": null, "uncached_input_tokens": 1000, "workspace_id": "a"
    });
    let bucket = json!({"starting_at": "2025-11-21T00:00:00Z", "ending_at": "2025-11-22T00:00:00Z", "results": [item]});
    assert_eq!(report, json!({"data": [bucket], "has_more": false, "next_page": null}));
    let (_, by_all) = get(
        &api,
        "usage_report/messages?starting_at=2025-11-21T00:00:00Z&limit=1&group_by[]=service_tier&group_by[]=context_window\
         &group_by[]=inference_geo&group_by[]=speed&group_by[]=account_id&group_by[]=api_key_id&account_ids[]=bob",
    );
    let item = &by_all["data"][0]["results"][0];
    for (field, value) in [
        ("service_tier", "standard"),
        ("context_window", "0-200k"),
        ("inference_geo", "global"),
        ("speed", "standard"),
        ("account_id", "bob"),
        ("api_key_id", "key-b"),
    ] {
        assert_eq!(item[field], value, "{by_all}");
    }
    let none = "usage_report/messages?starting_at=2025-11-21T00:00:00Z&service_account_ids[]=x";
    assert_eq!(get(&api, none).1["data"][0]["results"], json!([]));
}

#[test]
fn pages_overlap_or_leave_a_bucket_out() {
    let api = served();
    for (width, limit, count) in [("1d", 2, 5), ("1h", 7, 96), ("1m", 1440, 4 * 24 * 60)] {
        let question = format!(
            "usage_report/messages?starting_at=2025-11-20T05:30:00Z&ending_at=2025-11-24T06:00:00Z&bucket_width={width}&limit={limit}"
        );
        let (mut starts, mut requests, mut page) = (Vec::new(), 0, String::new());
        loop {
            let (status, answer) = get(&api, &format!("{question}{page}"));
            assert_eq!(status, 200, "{answer}");
            for bucket in answer["data"].as_array().unwrap() {
                starts.push(bucket["starting_at"].as_str().unwrap().to_owned());
                let items = bucket["results"].as_array().unwrap();
                requests += items.iter().map(|item| item["output_tokens"].as_u64().unwrap() / 10).sum::<u64>();
            }
            assert!(answer["data"].as_array().unwrap().len() <= limit);
            assert_eq!(answer["has_more"], answer["next_page"].is_string());
            let Some(next) = answer["next_page"].as_str() else { break };
            page = format!("&page={next}");
        }
        let mut sorted = starts.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((&sorted, requests), (&starts, 6), "{width}");
        assert!(starts.len().abs_diff(count) <= 31, "{width}: {} buckets", starts.len());
    }
}

#[test]
fn a_wrong_question_is_answered_with_something() {
    let api = served();
    let usage = "usage_report/messages?starting_at=2025-11-21T00:00:00Z";
    for (path, says) in [
        ("cost_report", "starting_at: is missing"),
        ("cost_report?starting_at=yesterday", "no RFC 3339"),
        ("cost_report?starting_at=2025-11-21T00:00:00Z&bucket_width=1h", "none of 1d"),
        ("cost_report?starting_at=2025-11-21T00:00:00Z&ending_at=2025-11-21T00:00:00Z", "after starting_at"),
        ("cost_report?starting_at=2025-11-21T00:00:00Z&group_by[]=model", "workspace_id, description"),
        (&format!("{usage}&limit=32"), "from 1 to 31"),
        (&format!("{usage}&colour=red"), "colour: unknown parameter"),
        (&format!("{usage}&page=page_00"), "no page token"),
        (&format!("{usage}&group_by[]=colour"), "api_key_id"),
        ("spend_limits?limit=0", "from 1 to 1000"),
        ("spend_limits?after_id=spl_x", "no spend limit spl_x"),
        ("spend_limits/effective?sort=spend_desc", "exactly one period"),
        ("spend_limits/audit?after_id=x", "no event's id"),
    ] {
        assert!(refused(&api, path).contains(says), "{path}: {}", refused(&api, path));
    }
    // A token of another question, and of a question of which it is no page.
    let (_, first) = get(&api, &format!("{usage}&limit=1"));
    let next = first["next_page"].as_str().unwrap();
    assert!(refused(&api, &format!("{usage}&group_by[]=model&page={next}")).contains("does not match"));
    assert_eq!(get(&api, &format!("{usage}&limit=2&page={next}")).0, 200, "a page may be larger");
    assert!(Cursor::of(&1).place(&Cursor::of(&1).token("x\ny")).unwrap() == "x\ny");
}

#[test]
fn an_amount_is_not_what_was_booked() {
    let api = served();
    let report = |group: &str| get(&api, &format!("cost_report?starting_at=2025-11-21T00:00:00Z&limit=1{group}")).1;
    let item = |n: usize, report: &Value| report["data"][0]["results"][n].clone();
    assert_eq!(item(0, &report(""))["amount"], "0.6300006", "two requests of 0.003150003 dollars each, in cents");
    let teams = report("&group_by[]=workspace_id");
    assert_eq!((&item(0, &teams)["workspace_id"], &item(0, &teams)["description"]), (&"a".into(), &Value::Null));
    let described = report("&group_by[]=description");
    let items = described["data"][0]["results"].as_array().unwrap();
    let nano = |item: &Value| {
        let (whole, fraction) = item["amount"].as_str().unwrap().split_once('.').unwrap();
        format!("{whole}{fraction:0<7}").parse::<i64>().unwrap()
    };
    assert_eq!(items.iter().map(nano).sum::<i64>(), 6_300_006, "{described}");
    let of = |kind: &str| items.iter().find(|item| item["token_type"] == kind).unwrap();
    // Three dollars and fifteen a million: a thousand of one are twenty times ten of the other.
    assert_eq!(nano(of("uncached_input_tokens")) / nano(of("output_tokens")), 20);
    assert_eq!(of("output_tokens")["description"], "claude-sonnet-4-6 Usage - Output Tokens");
    let search = items.iter().find(|item| item["cost_type"] == "web_search").unwrap();
    assert_eq!((&search["model"], &search["token_type"]), (&Value::Null, &Value::Null));
    assert_eq!([cents(Nanos(12_345_678)), cents(Nanos(0)), cents(Nanos(-500_000_000))], ["1.2345678", "0", "-50"]);
    assert_eq!([spend_cents(Nanos(12_345_678)), spend_cents(Nanos(12_500))], ["1.235", "0.001"]);
}

#[test]
fn an_effective_limit_is_not_the_one_that_binds() {
    let api = served();
    let (_, limits) = get(&api, "spend_limits");
    let kinds: Vec<&str> =
        limits["data"].as_array().unwrap().iter().map(|limit| limit["scope"]["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["workspace", "organization"], "{limits}");
    assert_eq!(get(&api, "spend_limits?scope_type=organization").1["data"][0]["period"], "total");
    let (_, first) = get(&api, "spend_limits?limit=1");
    let id = first["last_id"].as_str().unwrap();
    assert_eq!(first["has_more"], true);
    let (_, second) = get(&api, &format!("spend_limits?limit=1&after_id={id}"));
    assert_eq!((&second["data"][0]["scope"]["type"], &second["has_more"]), (&"organization".into(), &false.into()));
    let back = second["first_id"].as_str().unwrap();
    assert_eq!(get(&api, &format!("spend_limits?before_id={back}")).1["data"][0]["id"], id);
    // Nobody of team `platform` has spent anything: the organization's total is what everybody has.
    let (_, total) = get(&api, "spend_limits/effective?period[]=total&sort=spend_desc&limit=1");
    let row = &total["data"][0];
    assert_eq!((&row["source"]["type"], &row["amount"]), (&"organization".into(), &"0.0000005".into()), "{total}");
    assert_eq!(row["period_to_date_spend"], "0.945");
    let next = total["next_page"].as_str().unwrap();
    let (_, other) = get(&api, &format!("spend_limits/effective?period[]=total&sort=spend_desc&limit=1&page={next}"));
    assert_ne!(other["data"][0]["actor"]["user_id"], row["actor"]["user_id"]);
    assert_eq!(other["next_page"], Value::Null);
    let (_, found) = get(&api, "spend_limits/effective?q=ANN&period[]=daily");
    let row = &found["data"][0];
    assert_eq!((&row["actor"]["email_address"], &row["amount"]), (&"ann@example.com".into(), &Value::Null));
    assert_eq!((&row["groups"], found["data"].as_array().unwrap().len()), (&json!(["a"]), 1));
    let by_name = "spend_limits/effective?period[]=daily&period[]=weekly&limit=3";
    let (_, first) = get(&api, by_name);
    let (_, second) = get(&api, &format!("{by_name}&page={}", first["next_page"].as_str().unwrap()));
    assert_eq!((second["data"].as_array().unwrap().len(), &second["next_page"]), (1, &Value::Null));
    assert_eq!(second["data"][0]["actor"]["user_id"], "bob");
}
