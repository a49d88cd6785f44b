//! Learned repair: what an upstream refuses by name is left out once, and from then on, if the operator wants that.

use serde_json::{Value, json};

use crate::fixture::{BEDROCK_ID, Gateway, VERTEX_ID, VERTEX_TAIL, billed, sha256, start};
use crate::support::http::Response;

const ON: &str = "[repair]\nmode = \"repair\"\n";
const CONTEXT: &str = r#""context_management" : {"edits":[]},"#;

/// A body that no reprint would leave as it is; `more` stands in the middle.
fn messages(first: &str, more: &str, sim: &str) -> String {
    format!(
        r#"{{{first}, "max_tokens":1000,{more}"zeta":1.50e+2, "messages":[{{"role":"user","content":"caf\u00e9 [[sim events=6 {sim}]]"}}]}}"#
    )
}

fn ask(gateway: &Gateway, betas: &str, body: &str) -> Response {
    gateway.post("/v1/messages", &[("anthropic-version", "2023-06-01"), ("anthropic-beta", betas)], body.as_bytes())
}

/// All that the provider was asked, in order.
fn asked(gateway: &Gateway, requests: u64) -> Vec<Value> {
    let mut entries = gateway.provider.books_of(requests)["entries"].as_array().expect("entries").clone();
    entries.sort_by_key(|entry| entry["index"].as_u64());
    assert_eq!(entries.len() as u64, requests, "{entries:#?}");
    entries
}

fn repairs(gateway: &Gateway) -> Vec<(String, String, u64, u64)> {
    let all = gateway.weir.admin_get("/admin/v1/repairs");
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| {
        let count = |key: &str| row[key].as_u64().expect("a count");
        assert!(row["until"].is_string() && row["upstream"].is_string() && row["model"].is_string(), "{row}");
        (text(row, "kind"), text(row, "name"), count("refused"), count("left_out"))
    };
    all["data"].as_array().expect("rows").iter().map(row).collect()
}

/// The client has the upstream's own refusal, and nobody asked twice.
fn assert_relayed(gateway: &Gateway, requests: u64, sent: &str, answer: &Response) {
    let entries = asked(gateway, requests);
    let entry = entries.last().expect("an entry");
    assert_eq!((answer.status, &entry["status"]), (400, &json!(400)), "{}", answer.text());
    assert_eq!(entry["request_sha256"], sha256(sent.as_bytes()), "the request's bytes changed");
    assert_eq!(entry["response_sha256"], sha256(&answer.body), "the answer's bytes changed");
    assert_eq!((answer.header("x-weir-origin"), answer.header("x-weir-dropped")), (None, None));
    assert_eq!(gateway.record(requests as usize)["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_field_that_an_upstream_does_not_know_fails_every_request_or_is_refused_anew_each_time() {
    let gateway = start(ON);
    let mut requests = 0;
    for (nth, stream) in [false, true, true].into_iter().enumerate() {
        let first = format!(r#""model":"claude-sonnet-5","stream":{stream}"#);
        let sim = "chunk=split refuse_field=context_management";
        let (sent, without) = (messages(&first, CONTEXT, sim), messages(&first, "", sim));
        let answer = ask(&gateway, "new-1", &sent);
        assert_eq!(
            (answer.status, answer.header("x-weir-dropped")),
            (200, Some("context_management")),
            "{}",
            answer.text()
        );
        requests += if nth == 0 { 2 } else { 1 };
        let entries = asked(&gateway, requests);
        let last = entries.last().expect("an entry");
        assert_eq!(
            entries[0]["request_sha256"],
            sha256(messages(r#""model":"claude-sonnet-5","stream":false"#, CONTEXT, sim).as_bytes())
        );
        assert_eq!(last["request_sha256"], sha256(without.as_bytes()), "more changed than was refused");
        assert_eq!(last["headers"]["anthropic-beta"], "new-1");
        assert_eq!(last["response_sha256"], sha256(&answer.body));
        let record = gateway.record(nth + 1);
        assert_eq!((&record["usage"], &record["outcome"]), (&billed(last), &json!("completed")), "{record}");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(if nth == 0 { 2 } else { 1 }), "{record}");
        assert_eq!(repairs(&gateway), [("field".to_owned(), "context_management".to_owned(), 1, nth as u64 + 1)]);
    }
    assert_eq!(gateway.weir.metric("weir_refused_by_name_total", &[]), 1.0);
    assert_eq!(gateway.weir.metric("weir_repairs_total", &[]), 3.0);
    // Another model of the same upstream may know it.
    let sent = messages(r#""model":"claude-sonnet-5-5""#, CONTEXT, "");
    assert_eq!(ask(&gateway, "new-1", &sent).header("x-weir-dropped"), None);
    assert_eq!(asked(&gateway, requests + 1)[requests as usize]["request_sha256"], sha256(sent.as_bytes()));
}

#[test]
fn a_refused_beta_takes_others_along_or_leaves_its_field_to_be_refused() {
    let gateway = start(ON);
    let model = r#""model":"claude-sonnet-5""#;
    let sim = "refuse_beta=context-management-2025-06-27";
    let (sent, without) = (messages(model, CONTEXT, sim), messages(model, "", sim));
    for requests in [2, 3] {
        let answer = ask(&gateway, "new-1, context-management-2025-06-27,new-2", &sent);
        let dropped = "context-management-2025-06-27,context_management";
        assert_eq!((answer.status, answer.header("x-weir-dropped")), (200, Some(dropped)), "{}", answer.text());
        let entries = asked(&gateway, requests);
        assert_eq!(entries[requests as usize - 1]["headers"]["anthropic-beta"], "new-1,new-2");
        assert_eq!(entries[requests as usize - 1]["request_sha256"], sha256(without.as_bytes()));
    }
    let answer = ask(&gateway, "context-management-2025-06-27", &messages(model, "", sim));
    assert_eq!(answer.status, 200);
    assert!(asked(&gateway, 4)[3]["headers"]["anthropic-beta"].is_null(), "an empty header is left");
}

#[test]
fn a_request_is_tried_for_ever_when_every_attempt_is_refused_for_something_else() {
    let gateway = start(ON);
    let sim = "refuse_beta=files-api-2025-04-14 refuse_field=context_management";
    let sent = messages(r#""model":"claude-sonnet-5""#, CONTEXT, sim);
    let answer = ask(&gateway, "files-api-2025-04-14", &sent);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"]["message"], "context_management: Extra inputs are not permitted");
    assert_eq!(asked(&gateway, 2)[1]["response_sha256"], sha256(&answer.body));
    // Both are known by now.
    let answer = ask(&gateway, "files-api-2025-04-14", &sent);
    let dropped = answer.header("x-weir-dropped");
    assert_eq!((answer.status, dropped), (200, Some("files-api-2025-04-14,context_management")), "{}", answer.text());
    asked(&gateway, 3);
}

#[test]
fn who_only_observes_changes_requests_or_counts_nothing() {
    let gateway = start("[repair]\nmode = \"observe\"\n");
    let sent = messages(r#""model":"claude-sonnet-5""#, CONTEXT, "refuse_field=context_management");
    for requests in 1..=2 {
        let answer = ask(&gateway, "new-1", &sent);
        assert_relayed(&gateway, requests, &sent, &answer);
        assert_eq!(repairs(&gateway), [("field".to_owned(), "context_management".to_owned(), requests, 0)]);
    }
    assert_eq!(gateway.weir.admin_get("/admin/v1/repairs")["mode"], "observe");
}

#[test]
fn requests_are_repaired_although_nobody_asked_for_that() {
    for more in ["", "[repair]\nmode = \"off\"\n"] {
        let gateway = start(more);
        let sent = messages(r#""model":"claude-sonnet-5""#, CONTEXT, "refuse_field=context_management");
        let answer = ask(&gateway, "new-1", &sent);
        assert_relayed(&gateway, 1, &sent, &answer);
        assert_eq!(gateway.weir.admin_get("/admin/v1/repairs"), json!({ "mode": "off", "data": [] }));
        assert_eq!(gateway.weir.metric("weir_refused_by_name_total", &[]), 0.0);
    }
}

#[test]
fn a_refusal_that_names_nothing_to_leave_out_does_not_arrive_as_it_came() {
    let gateway = start(ON);
    let tools = r#""tools":[],"#;
    let mut requests = 0;
    for framing in ["chunk=split", "chunk=merged trickle=40", "lean=0", "until_close=1", "gzip=1"] {
        for (more, says) in [
            (tools, "refuse_field=tools"),
            // What the request never said cannot be left out.
            ("", "status=400 message=speed:_Extra_inputs_are_not_permitted"),
            (CONTEXT, "status=400 message=invalid_beta_flag"),
            (CONTEXT, "status=400 message=messages.0.speed:_Extra_inputs_are_not_permitted"),
            (CONTEXT, "refuse_beta=context-1m-2025-08-07"),
        ] {
            requests += 1;
            let sent = messages(r#""model":"claude-sonnet-5""#, more, &format!("{framing} {says}"));
            let answer = ask(&gateway, "context-1m-2025-08-07", &sent);
            assert_relayed(&gateway, requests, &sent, &answer);
        }
    }
    assert!(repairs(&gateway).is_empty());
}

#[test]
fn what_a_cloud_refuses_by_name_is_not_left_out_between_formats_or_in_its_own() {
    let gateway = start(ON);
    let beta = "interleaved-thinking-2025-05-14";
    let sim = format!("refuse_beta={beta}");
    let mut requests = 0;
    for model in ["claude-haiku-5-5", "claude-opus-5"] {
        for (nth, stream) in [false, true].into_iter().enumerate() {
            let sent = messages(&format!(r#""model":"{model}","stream":{stream}"#), "", &sim);
            let answer = ask(&gateway, &format!("{beta},new-1"), &sent);
            requests += 2 - nth as u64;
            assert_eq!((answer.status, answer.header("x-weir-dropped")), (200, Some(beta)), "{}", answer.text());
            asked(&gateway, requests);
        }
    }
    let body = |version: &str, more: &str| messages(&format!(r#""anthropic_version":"{version}""#), more, &sim);
    let listed = format!(r#""anthropic_beta":["new-1","{beta}"],"#);
    let vertex = format!("/v1/{VERTEX_TAIL}/{VERTEX_ID}:rawPredict");
    let bedrock = format!("/model/{BEDROCK_ID}/invoke");
    for (path, headers, sent, left) in [
        (
            &bedrock,
            vec![],
            body("bedrock-2023-05-31", &listed),
            body("bedrock-2023-05-31", r#""anthropic_beta":["new-1"],"#),
        ),
        (&vertex, vec![("anthropic-beta", beta)], body("vertex-2023-10-16", ""), body("vertex-2023-10-16", "")),
    ] {
        for more in [2, 1] {
            let answer = gateway.post(path, &headers, sent.as_bytes());
            requests += more;
            assert_eq!((answer.status, answer.header("x-weir-dropped")), (200, Some(beta)), "{}", answer.text());
            let last = asked(&gateway, requests).pop().expect("an entry");
            assert_eq!(last["request_sha256"], sha256(left.as_bytes()), "{path}");
            assert!(last["headers"]["anthropic-beta"].is_null(), "{last}");
        }
    }
}
