//! Batches: they stay with the account that made them, belong to the team that made them, and cost what the provider bills.

use serde_json::{Value, json};

use crate::kept::{AL, ANN, BOB, EVE, House, ask, batch, id, weir};
use crate::support::http::{self, Connection, Response};
use crate::support::{DEADLINE, eventually};

const BATCHES: &str = "/v1/messages/batches";
const BUDGET: &str = "[[budget]]\nscope = \"team:blue\"\namount = \"5.00\"\nperiod = \"monthly\"\n";

/// Dollars of so many tokens of `claude-sonnet-4-6` in a batch: half of 3 and 15 a million.
fn batch_price(input: u64, output: u64) -> String {
    let nanos = input * 1500 + output * 7500;
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn spent(house: &House) -> String {
    let budgets = house.weir.admin_get("/admin/v1/budgets");
    budgets["data"].as_array().or(budgets.as_array()).expect("budgets")[0]["spent"].as_str().expect("money").to_owned()
}

fn record(house: &House, operation: &str) -> Value {
    eventually(DEADLINE, operation, || {
        let all = house.weir.admin_get("/admin/v1/requests?limit=1000");
        all["data"].as_array()?.iter().find(|record| record["operation"] == operation).cloned()
    })
}

/// Fetches results at the address that the batch itself gives.
fn results(house: &House, key: &str, batch: &Response) -> Response {
    let url = batch.json()["results_url"].as_str().expect("an address").to_owned();
    let path = url.strip_prefix(&house.weir.url()).unwrap_or_else(|| panic!("{url} leads past the gateway"));
    let answer = house.ask(key, "GET", path, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[test]
fn a_batch_is_booked_twice_or_for_less_than_the_provider_bills() {
    let mut house = House::start(BUDGET);
    let sent = batch("claude-sonnet-4-6", 12);
    let made = house.ask(ANN, "POST", BATCHES, &sent);
    let name = id(&made);
    let created = record(&house, "batch_create");
    assert_eq!((&created["objects"], &created["object_event"]), (&json!(name), &json!("made")));
    let bound: f64 = created["cost_usd"].as_str().expect("money").parse().expect("a number");
    assert!(bound >= 12.0 * 200.0 * 7.5e-6, "{created}");
    assert_eq!(created["cost_usd"], created["reserved_usd"]);
    // It stays booked, over a crash as well, until somebody reads the results.
    house.weir.kill9();
    house.weir.restart();
    assert_eq!(spent(&house), created["cost_usd"]);
    let shown = house.ask(AL, "GET", &format!("{BATCHES}/{name}"), b"");
    assert_eq!((shown.status, shown.json()["results_url"].clone()), (200, Value::Null));
    let shown = house.ask(AL, "GET", &format!("{BATCHES}/{name}"), b"");
    let (one, two) = std::thread::scope(|scope| {
        let fetch = |key| {
            scope.spawn({
                let (house, shown) = (&house, &shown);
                move || results(house, key, shown)
            })
        };
        let (one, two) = (fetch(AL), fetch(ANN));
        (one.join().expect("results"), two.join().expect("results"))
    });
    assert!(one.body == two.body);
    assert_eq!(one.text().lines().count(), 12);
    let settle = || {
        let books = house.first.books()["totals"].clone();
        let usage = &books["models"]["claude-sonnet-4-6"]["usage"];
        let price = batch_price(usage["input"].as_u64()?, usage["output"].as_u64()?);
        let row = house.usage("blue");
        let told = (row["input_tokens"] == usage["input"]) && row["output_tokens"] == usage["output"];
        (told && row["cost_usd"] == *price && spent(&house) == price).then_some(price)
    };
    let price = eventually(DEADLINE, "the books of both are equal", settle);
    assert!(price.parse::<f64>().expect("a number") < bound);
    // Who made it pays for it, whoever reads the results.
    let all = house.weir.admin_get("/admin/v1/usage?group_by=key");
    let row = |key: &str| all["data"].as_array().and_then(|rows| rows.iter().find(|r| r["key"] == key).cloned());
    assert_eq!(row("ann").expect("a row")["cost_usd"], *price, "{all}");
    house.weir.kill9();
    house.weir.restart();
    assert!(house.ask(AL, "GET", &format!("{BATCHES}/{name}/results"), b"").body == one.body);
    // Three reads, of which one has booked the batch; the record of the last one may come a moment after its answer.
    let booked_nothing = eventually(DEADLINE, "a record of each read", || {
        let all = house.weir.admin_get("/admin/v1/requests?limit=1000");
        let reads = all["data"].as_array()?.iter().filter(|record| record["operation"] == "batch_results");
        let reads: Vec<Value> = reads.cloned().collect();
        let nothing = |r: &&Value| r["cost_usd"] == "0.000000000" && r["usage_source"] == "none";
        (reads.len() == 3).then(|| reads.iter().filter(nothing).count())
    });
    assert_eq!(booked_nothing, 2);
    assert_eq!((house.usage("blue")["cost_usd"].clone(), spent(&house)), (json!(price), price.clone()));
}

#[test]
fn a_batch_is_a_cheaper_way_past_a_budget() {
    let house = House::start(&BUDGET.replace("5.00", "0.10"));
    let answer = house.ask(ANN, "POST", BATCHES, &batch("claude-sonnet-4-6", 100));
    assert_eq!((answer.status, answer.json()["error"]["type"].clone()), (429, json!("billing_error")));
    assert!(answer.text().contains("can cost up to $"), "{}", answer.text());
    assert_eq!(house.first.books()["totals"]["requests"], 0);
    // Several small ones fit until their bounds have used the budget up, whether or not anybody reads what came of them.
    let made = (0..50).take_while(|_| house.ask(ANN, "POST", BATCHES, &batch("claude-sonnet-4-6", 10)).status == 200);
    let made = made.count();
    assert!((1..6).contains(&made), "{made} batches of 10 x 200 tokens at 7.5 a million fit into $0.10");
    assert_eq!(house.ask(BOB, "POST", BATCHES, &batch("claude-sonnet-4-6", 10)).status, 200, "another team's room");
}

#[test]
fn a_batch_that_nobody_admitted_is_run() {
    let house = House::start("");
    let twice = String::from_utf8(batch("claude-sonnet-4-6", 1)).expect("text");
    let twice = twice.replace("\"max_tokens\":200", "\"max_tokens\":1,\"max_tokens\":200");
    for (key, body, status) in [
        (EVE, batch("claude-sonnet-4-6", 1), 403),
        (ANN, batch("claude-unheard-of", 1), 404),
        (ANN, twice.into_bytes(), 400),
        (ANN, b"{\"requests\":[{\"custom_id\":\"a\",\"params\":{}}]}".to_vec(), 400),
        (ANN, b"no json".to_vec(), 400),
        ("nobody", batch("claude-sonnet-4-6", 1), 401),
    ] {
        let answer = house.ask(key, "POST", BATCHES, &body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("x-weir-origin"), Some("gateway"));
    }
    let mixed = String::from_utf8(batch("claude-sonnet-4-6", 2)).expect("text");
    let mixed = mixed.replacen("claude-sonnet-4-6", "claude-opus-4-6", 1);
    let answer = house.ask(ANN, "POST", BATCHES, mixed.as_bytes());
    assert_eq!(answer.status, 404, "no account serves both: {}", answer.text());
    for provider in [&house.first, &house.second] {
        assert_eq!(provider.books()["totals"]["requests"], 0);
    }
}

#[test]
fn another_teams_batch_is_read_cancelled_or_listed() {
    let house = House::start("");
    let theirs = id(&house.ask(ANN, "POST", BATCHES, &batch("claude-sonnet-4-6", 2)));
    let mine = id(&house.ask(BOB, "POST", BATCHES, &batch("claude-sonnet-4-6", 1)));
    for (method, tail) in [("GET", ""), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", "")] {
        for name in [theirs.as_str(), "msgbatch_01unheardof"] {
            let answer = house.ask(BOB, method, &format!("{BATCHES}/{name}{tail}"), b"");
            assert_eq!((answer.status, answer.header("x-weir-origin")), (404, Some("gateway")), "{}", answer.text());
            assert_eq!(answer.json()["error"]["type"], "not_found_error");
        }
    }
    assert_eq!(house.first.books()["totals"]["requests"], 2, "the account was not even asked");
    let listed = |key: &str, query: &str| {
        let page = house.ask(key, "GET", &format!("{BATCHES}{query}"), b"").json();
        page["data"].as_array().expect("a page").iter().map(|b| b["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((listed(BOB, ""), listed(AL, "?limit=5")), (vec![json!(mine)], vec![json!(theirs)]));
    assert_eq!(house.ask(BOB, "GET", &format!("{BATCHES}?after_id={theirs}"), b"").status, 404);
    let second = id(&house.ask(ANN, "POST", BATCHES, &batch("claude-sonnet-4-6", 1)));
    assert_eq!(listed(ANN, "?limit=1"), vec![json!(second)]);
    assert_eq!(listed(ANN, &format!("?limit=1&after_id={second}")), vec![json!(theirs)]);
    let cancelled = house.ask(AL, "POST", &format!("{BATCHES}/{theirs}/cancel"), b"");
    assert!(cancelled.json()["results_url"].as_str().expect("an address").starts_with(&house.weir.url()));
    assert_eq!(house.ask(ANN, "DELETE", &format!("{BATCHES}/{theirs}"), b"").status, 200);
    assert_eq!(house.ask(ANN, "GET", &format!("{BATCHES}/{theirs}"), b"").status, 404);
}

#[test]
fn a_batch_is_asked_for_at_the_wrong_account_or_lost_by_a_restart_or_another_host() {
    let mut house = House::start("");
    let name = id(&house.ask(ANN, "POST", BATCHES, &batch("claude-opus-4-6", 2)));
    // The journal has it within its flush interval.
    record(&house, "batch_create");
    house.weir.kill9();
    house.weir.restart();
    assert_eq!(house.ask(AL, "GET", &format!("{BATCHES}/{name}"), b"").status, 200);
    assert_eq!(house.first.books()["totals"]["requests"], 0, "it stands where it was made");
    let strict = weir(&house.first, &house.second, "");
    assert_eq!(ask(&strict, ANN, "GET", &format!("{BATCHES}/{name}"), b"").status, 404);
    let open = weir(&house.first, &house.second, "[objects]\nunknown = \"ask\"\n");
    let answer = ask(&open, ANN, "GET", &format!("{BATCHES}/{name}/results"), b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.first.books()["totals"]["requests"], 1, "asked in turn");
    // Who found it owns it, and the results are booked there.
    assert_eq!(ask(&open, BOB, "GET", &format!("{BATCHES}/{name}"), b"").status, 404);
    assert_eq!(house.first.books()["totals"]["requests"], 1, "known from then on");
    eventually(DEADLINE, "the results are booked", || {
        let usage = open.admin_get("/admin/v1/usage?group_by=team");
        let row = usage["data"].as_array()?.iter().find(|row| row["team"] == "blue")?.clone();
        (row["output_tokens"].as_u64() > Some(0)).then_some(())
    });
    let missing = ask(&open, ANN, "GET", &format!("{BATCHES}/msgbatch_01unheardof"), b"");
    assert_eq!((missing.status, missing.header("x-weir-origin")), (404, None), "the accounts say so themselves");
}

#[test]
fn a_client_that_leaves_makes_a_batch_that_nobody_pays_for() {
    let house = House::start(BUDGET);
    let body = batch("claude-sonnet-4-6", 10);
    let head = format!(
        "POST {BATCHES} HTTP/1.1\r\nhost: x\r\nx-api-key: {ANN}\r\nanthropic-version: 2023-06-01\r\nanthropic-sim: first_ms=700\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::open(house.weir.clients());
    connection.send(&[head.as_bytes(), &body].concat());
    eventually(DEADLINE, "the account has it", || (house.first.books()["totals"]["open"] == 1).then_some(()));
    drop(connection);
    let created = record(&house, "batch_create");
    assert_eq!(
        (&created["outcome"], &created["object_event"]),
        (&json!("client_aborted"), &json!("made")),
        "{created}"
    );
    assert_eq!(spent(&house), created["reserved_usd"]);
    let listed = house.ask(ANN, "GET", BATCHES, b"").json();
    assert_eq!(listed["data"][0]["id"], created["objects"]);
}

#[test]
fn a_file_is_kept_on_its_way_cut_or_shown_to_another_team() {
    let house = House::start("");
    // More than any other body may have.
    let bytes: Vec<u8> = (0..40 * 1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let form = [
        b"--frontier\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\ncontent-type: application/octet-stream\r\n\r\n".as_slice(),
        &bytes,
        b"\r\n--frontier--\r\n",
    ]
    .concat();
    let headers = [
        ("x-api-key", ANN),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "files-api-2025-04-14"),
        ("content-type", "multipart/form-data; boundary=frontier"),
    ];
    let made = http::request(house.weir.clients(), "POST", "/v1/files", &headers, &form);
    let name = id(&made);
    assert_eq!(made.json()["size_bytes"], bytes.len());
    let shards = house.weir.admin_get("/admin/v1/shards").to_string();
    assert!(!shards.contains("\"replay_bytes\":4"), "{shards}");
    let content = house.ask(AL, "GET", &format!("/v1/files/{name}/content"), b"");
    assert!(content.body == bytes, "{} bytes of {}", content.body.len(), bytes.len());
    assert_eq!(house.ask(BOB, "GET", &format!("/v1/files/{name}/content"), b"").status, 404);
    assert_eq!(house.ask(BOB, "GET", "/v1/files", b"").json()["data"], json!([]));
    assert_eq!(house.ask(AL, "GET", "/v1/files", b"").json()["data"][0]["id"], *name);
    assert_eq!(house.ask(AL, "GET", &format!("/v1/files/{name}"), b"").json()["filename"], "a.bin");
    let uploaded = record(&house, "file_upload");
    assert_eq!((&uploaded["objects"], &uploaded["cost_usd"]), (&json!(name), &json!("0.000000000")));
    assert_eq!(uploaded["request_bytes"], form.len());
    assert_eq!(house.ask(ANN, "DELETE", &format!("/v1/files/{name}"), b"").status, 200);
    assert_eq!(house.ask(ANN, "GET", &format!("/v1/files/{name}"), b"").status, 404);
    assert_eq!(record(&house, "file_delete")["object_event"], "gone");
}

#[test]
fn a_gateway_without_an_account_for_them_says_nothing_of_use() {
    let house = House::start("");
    let config = std::fs::read_to_string(house.weir.dir().join("weir.toml")).expect("the configuration");
    house.weir.write_config(
        &config
            .replace("provider = \"anthropic\"", "provider = \"vertex\"\nproject = \"p\"\nregion = \"global\"")
            .replace("api_key", "access_token"),
    );
    house.weir.sighup();
    eventually(DEADLINE, "the reload", || {
        let answer = house.ask(ANN, "GET", "/v1/files", b"");
        (answer.status == 404 && answer.text().contains("provider anthropic")).then_some(())
    });
}
