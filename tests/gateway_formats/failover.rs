//! Targets of several formats for one model, and none of them answers well: what the client reads is the most telling error, in
//! its own format, with the provider's own words.

use serde_json::{Value, json};
use weir::loadtest::provider::{self, ProviderHandle, ProviderOptions};

use crate::fixture::{ALICE_KEY, VERTEX_TAIL};
use crate::support::http::{self, Response};
use crate::support::{DEADLINE, LOOPBACK, PROVIDER_KEY, Weir, eventually};

const MODEL: &str = "claude-opus-5";

/// A gateway whose one model has a target for each `(provider, script)`, asked in this order.
struct Fleet {
    weir: Weir,
    accounts: Vec<ProviderHandle>,
}

fn account(script: &str) -> ProviderHandle {
    let options = ProviderOptions {
        api_keys: vec![PROVIDER_KEY.to_owned()],
        script: script.to_owned(),
        quiet: true,
        ..ProviderOptions::default()
    };
    provider::start(options).expect("the provider starts")
}

fn start(targets: &[(&str, &str)]) -> Fleet {
    let accounts: Vec<ProviderHandle> = targets.iter().map(|(_, script)| account(script)).collect();
    let own = |provider: &str| match provider {
        "bedrock" => "region = \"us-east-1\"\nauth = { bearer = \"${PROVIDER_KEY}\" }",
        "vertex" => "project = \"p\"\nregion = \"us-east5\"\nauth = { access_token = \"${PROVIDER_KEY}\" }",
        _ => "auth = { api_key = \"${PROVIDER_KEY}\" }",
    };
    let mut config = format!("{LOOPBACK}[shards]\ncount = 1\npin = false\n");
    let mut list = Vec::new();
    for (place, ((provider, _), account)) in targets.iter().zip(&accounts).enumerate() {
        let (url, own) = (account.addr(), own(provider));
        config.push_str(&format!(
            "[[upstream]]\nname = \"{provider}-{place}\"\nprovider = \"{provider}\"\nbase_url = \"http://{url}\"\n{own}\n"
        ));
        list.push(format!("{{ upstream = \"{provider}-{place}\" }}"));
    }
    let list = list.join(", ");
    config.push_str(&format!("[[model]]\nid = \"{MODEL}\"\nstrategy = \"ordered\"\ntargets = [{list}]\n"));
    config.push_str("[[key]]\nid = \"dev-alice\"\nsecret = \"${ALICE_KEY}\"\n");
    Fleet { weir: Weir::start_with(&config, &[("ALICE_KEY", ALICE_KEY)]), accounts }
}

impl Fleet {
    fn post(&self, path: &str, body: &Value) -> Response {
        let headers = [("x-api-key", ALICE_KEY), ("anthropic-version", "2023-06-01")];
        http::request(self.weir.clients(), "POST", path, &headers, body.to_string().as_bytes())
    }

    fn ask(&self, client: &str) -> Response {
        let messages = json!([{"role": "user", "content": "hello"}]);
        match client {
            "anthropic" => {
                let body = json!({"model": MODEL, "max_tokens": 9, "service_tier": "auto", "stream": true, "messages": messages});
                self.post("/v1/messages", &body)
            }
            "bedrock" => {
                let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": messages});
                self.post("/model/us.anthropic.claude-opus-5/invoke-with-response-stream", &body)
            }
            _ => {
                let body = json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": messages});
                self.post(&format!("/v1/{VERTEX_TAIL}/{MODEL}:rawPredict"), &body)
            }
        }
    }

    fn record(&self) -> Value {
        eventually(DEADLINE, "the record", || {
            let answer = self.weir.admin_get("/admin/v1/requests?limit=10");
            answer["data"].as_array().expect("records").first().cloned()
        })
    }
}

/// Type or status name, and words, of an error in a client's own dialect.
fn told(client: &str, answer: &Response) -> (String, String) {
    let body = answer.json();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    match client {
        "anthropic" => {
            assert_eq!(body["type"], "error", "{body}");
            assert!(answer.header("request-id").is_some_and(|id| id.starts_with("req_") && body["request_id"] == id));
            (text("/error/type"), text("/error/message"))
        }
        "bedrock" => {
            let kind = answer.header("x-amzn-errortype").expect("a type").to_owned();
            (kind, text("/message"))
        }
        _ => {
            assert_eq!(body["error"]["code"], answer.status, "{body}");
            (text("/error/status"), text("/error/message"))
        }
    }
}

const DEAD: &str = "reset_before=1";

/// The client's format, the targets in their order, and what the client reads: status, type, words.
type Case = (&'static str, [(&'static str, &'static str); 2], u16, &'static str, &'static str);

const CASES: [Case; 9] = [
    (
        "anthropic",
        [("bedrock", "status=429,message=slow_down"), ("vertex", DEAD)],
        429,
        "rate_limit_error",
        "slow down",
    ),
    (
        "anthropic",
        [("vertex", DEAD), ("bedrock", "status=429,message=slow_down")],
        429,
        "rate_limit_error",
        "slow down",
    ),
    (
        "anthropic",
        [("bedrock", "status=503,message=busy,chunk=split"), ("bedrock", DEAD)],
        529,
        "overloaded_error",
        "busy",
    ),
    (
        "anthropic",
        [("vertex", "status=404,message=no_such_model"), ("bedrock", "status=500")],
        404,
        "not_found_error",
        "no such model",
    ),
    // A request at fault is at fault everywhere, and its answer is nobody's to wait for.
    (
        "anthropic",
        [("vertex", DEAD), ("bedrock", "status=400,message=Input_is_too_long_for_requested_model.")],
        400,
        "invalid_request_error",
        "prompt is too long: Input is too long for requested model.",
    ),
    (
        "bedrock",
        [("anthropic", "status=529,message=busy"), ("vertex", DEAD)],
        503,
        "ServiceUnavailableException",
        "busy",
    ),
    (
        "bedrock",
        [("anthropic", "status=429,message=slow_down"), ("bedrock", DEAD)],
        429,
        "ThrottlingException",
        "slow down",
    ),
    (
        "vertex",
        [("bedrock", "status=403,message=no_arn:aws:iam::1:role/x"), ("anthropic", DEAD)],
        403,
        "PERMISSION_DENIED",
        "no arn:…",
    ),
    ("vertex", [("anthropic", "status=529,message=busy"), ("bedrock", DEAD)], 503, "UNAVAILABLE", "busy"),
];

#[test]
fn an_error_of_another_format_loses_its_words_when_every_target_fails() {
    for (client, targets, status, kind, words) in CASES {
        let fleet = start(&targets);
        let answer = fleet.ask(client);
        let says = format!("{client} {targets:?}: {} {}", answer.status, answer.text());
        assert_eq!((answer.status, answer.header("x-weir-origin")), (status, None), "{says}");
        assert_eq!(told(client, &answer), (kind.to_owned(), words.to_owned()), "{says}");
        assert!(answer.header("x-weir-upstream-request-id").is_some(), "{says}");
        assert_eq!(answer.header("x-amzn-errortype").is_some(), client == "bedrock", "{says}");
        let dropped = (client == "anthropic").then_some("service_tier");
        assert_eq!(answer.header("x-weir-dropped"), dropped, "{says}");
        let record = fleet.record();
        assert_eq!((&record["status"], &record["cost_usd"]), (&json!(status), &json!("0.000000000")), "{record}");
        assert_eq!(record["upstream_request_id"].as_str(), answer.header("x-weir-upstream-request-id"), "{record}");
        let tried = record["attempts"].as_array().expect("attempts").len();
        let asked: u64 = fleet.accounts.iter().map(|account| account.books().totals.requests).sum();
        assert_eq!((tried, asked), (2, 2), "{record}");
    }
}

#[test]
fn the_wait_that_a_cloud_named_is_lost_with_its_words() {
    let fleet = start(&[("bedrock", "status=429,retry_after=9,should_retry=true,message=slow_down"), ("vertex", DEAD)]);
    let answer = fleet.ask("anthropic");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("9")), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    let attempts = fleet.record()["attempts"].clone();
    assert_eq!((&attempts[0]["status"], &attempts[0]["result"]), (&json!(429), &json!("answered")), "{attempts}");
}

#[test]
fn the_record_says_a_status_that_the_cloud_did_not_send() {
    // The client reads 529, the attempt is what the cloud said.
    let fleet = start(&[("bedrock", "status=503")]);
    assert_eq!(fleet.ask("anthropic").status, 529);
    let record = fleet.record();
    assert_eq!((&record["status"], &record["attempts"][0]["status"]), (&json!(529), &json!(503)), "{record}");
}
