//! Claude Code in each of its modes, set up with the variables that its documentation gives for gateways, on upstreams of its
//! own format and of others.

use serde_json::{Value, json};

use crate::claude_code::{claude_code, usage_row};
use crate::gateway::{
    ALICE, ALICE_KEY, AT_AWS, AT_BEDROCK, AT_FOUNDRY, BLOCKED_MESSAGE, HAIKU, SONNET, TINY_BUDGET, billed, dollars,
    entries, records, start_everywhere,
};
use crate::sandbox::isolated;
use crate::support::Weir;

/// How a developer sets Claude Code up.
struct Mode {
    /// The format of its requests.
    format: &'static str,
    /// The variable of the base URL, and the path behind the gateway's address.
    base: (&'static str, &'static str),
    /// The variable of the gateway's key, and what stands before the key in it.
    key: (&'static str, &'static str),
    switches: &'static [(&'static str, &'static str)],
}

const MESSAGES: Mode =
    Mode { format: "anthropic", base: ("ANTHROPIC_BASE_URL", ""), key: ("ANTHROPIC_AUTH_TOKEN", ""), switches: &[] };
const BEDROCK: Mode = Mode {
    format: "bedrock",
    base: ("ANTHROPIC_BEDROCK_BASE_URL", "/bedrock"),
    key: ("ANTHROPIC_AUTH_TOKEN", ""),
    switches: &[("CLAUDE_CODE_USE_BEDROCK", "1"), ("CLAUDE_CODE_SKIP_BEDROCK_AUTH", "1")],
};
/// With the gateway's key where a Bedrock API key would be.
const BEDROCK_BEARER: Mode = Mode { key: ("AWS_BEARER_TOKEN_BEDROCK", ""), ..BEDROCK };
const VERTEX: Mode = Mode {
    format: "vertex",
    base: ("ANTHROPIC_VERTEX_BASE_URL", "/vertex"),
    key: ("ANTHROPIC_AUTH_TOKEN", ""),
    switches: &[
        ("CLAUDE_CODE_USE_VERTEX", "1"),
        ("CLAUDE_CODE_SKIP_VERTEX_AUTH", "1"),
        ("ANTHROPIC_VERTEX_PROJECT_ID", "of-the-client"),
        ("CLOUD_ML_REGION", "europe-west1"),
    ],
};
/// On another of the base paths, with the key in a header of the developer's own.
const VERTEX_HEADER: Mode = Mode {
    base: ("ANTHROPIC_VERTEX_BASE_URL", "/vertex_ai/v1"),
    key: ("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer "),
    ..VERTEX
};
const FOUNDRY: Mode = Mode {
    format: "anthropic",
    base: ("ANTHROPIC_FOUNDRY_BASE_URL", "/foundry"),
    key: ("ANTHROPIC_FOUNDRY_API_KEY", ""),
    switches: &[("CLAUDE_CODE_USE_FOUNDRY", "1")],
};
const AWS: Mode = Mode {
    format: "anthropic",
    base: ("ANTHROPIC_AWS_BASE_URL", "/anthropic-aws"),
    key: ("ANTHROPIC_AUTH_TOKEN", ""),
    switches: &[
        ("CLAUDE_CODE_USE_ANTHROPIC_AWS", "1"),
        ("CLAUDE_CODE_SKIP_ANTHROPIC_AWS_AUTH", "1"),
        ("ANTHROPIC_AWS_WORKSPACE_ID", "wrkspc_of_the_client"),
    ],
};
/// Bedrock's native Messages.
const MANTLE: Mode = Mode {
    format: "anthropic",
    base: ("ANTHROPIC_BEDROCK_MANTLE_BASE_URL", "/anthropic"),
    key: ("ANTHROPIC_AUTH_TOKEN", ""),
    switches: &[("CLAUDE_CODE_USE_MANTLE", "1"), ("CLAUDE_CODE_SKIP_MANTLE_AUTH", "1")],
};

impl Mode {
    fn ask(&self, weir: &Weir, model: &str, prompt: &str) -> Value {
        let (base, key) = (format!("{}{}", weir.url(), self.base.1), format!("{}{ALICE_KEY}", self.key.1));
        let own = [(self.base.0, base.as_str()), (self.key.0, key.as_str())];
        claude_code(&[&own, self.switches].concat(), model, prompt)
    }
}

const INVOKE: &str = "/model/us.anthropic.claude-opus-4-6-v1/invoke";
const PREDICT: &str =
    "/v1/projects/of-the-gateway/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5@20251001:";
const MESSAGES_PATH: &str = "/v1/messages";

#[test]
fn bedrock_mode_works_on_bedrock() {
    isolated(|| works_for_a_day(&BEDROCK, "us.anthropic.claude-opus-4-6-v1", "bedrock", INVOKE));
}

#[test]
fn bedrock_mode_works_on_anthropic() {
    isolated(|| works_for_a_day(&BEDROCK_BEARER, "us.anthropic.claude-sonnet-4-6", "anthropic", MESSAGES_PATH));
}

#[test]
fn bedrock_mode_works_on_vertex() {
    let model = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
    isolated(move || works_for_a_day(&BEDROCK, model, "vertex", PREDICT));
}

#[test]
fn vertex_mode_works_on_vertex() {
    isolated(|| works_for_a_day(&VERTEX, "claude-haiku-4-5@20251001", "vertex", PREDICT));
}

#[test]
fn vertex_mode_works_on_anthropic() {
    isolated(|| works_for_a_day(&VERTEX_HEADER, SONNET, "anthropic", MESSAGES_PATH));
}

#[test]
fn vertex_mode_works_on_bedrock() {
    isolated(|| works_for_a_day(&VERTEX, AT_BEDROCK, "bedrock", INVOKE));
}

#[test]
fn messages_mode_works_on_bedrock() {
    isolated(|| works_for_a_day(&MESSAGES, AT_BEDROCK, "bedrock", INVOKE));
}

#[test]
fn messages_mode_works_on_vertex() {
    isolated(|| works_for_a_day(&MESSAGES, HAIKU, "vertex", PREDICT));
}

#[test]
fn messages_mode_works_on_anthropic() {
    isolated(|| works_for_a_day(&MESSAGES, SONNET, "anthropic", MESSAGES_PATH));
}

#[test]
fn foundry_mode_works_on_foundry() {
    isolated(|| works_for_a_day(&FOUNDRY, AT_FOUNDRY, "foundry", MESSAGES_PATH));
}

#[test]
fn aws_platform_mode_works_on_the_aws_platform() {
    isolated(|| works_for_a_day(&AWS, AT_AWS, "aws", MESSAGES_PATH));
}

#[test]
fn mantle_mode_works_on_anthropic() {
    isolated(|| works_for_a_day(&MANTLE, "anthropic.claude-sonnet-4-6", "anthropic", MESSAGES_PATH));
}

/// A turn that is throttled, thinks, uses a tool, is cut off and ends well, and spends what there is; then one more.
fn works_for_a_day(mode: &Mode, model: &str, upstream: &str, path: &str) {
    let (provider, weir) = start_everywhere(TINY_BUDGET);
    let overloaded = if upstream == "bedrock" { 503 } else { 529 };
    let script = format!(
        "status=429 retry_after=1 then status={overloaded} then \
         tool=Bash tool_command=echo_river-is-$((6*7)) thinking=1 input_tokens=12 then \
         close_at=2 input_tokens=13 then input_tokens=14 output_tokens=100000 events=3 event_bytes=120"
    );
    let said = mode.ask(&weir, model, &format!("Reply with one word [[sim {script}]]"));
    assert_eq!((&said["is_error"], &said["num_turns"]), (&json!(false), &json!(2)), "{said}");

    // Each try of Claude Code's is one request of the provider's: the gateway makes none of its own.
    let asked = entries(&provider, 5);
    let statuses: Vec<&Value> = asked.iter().map(|entry| &entry["status"]).collect();
    assert_eq!(json!(statuses), json!([429, overloaded, 200, 200, 200]));
    let paths: Vec<&str> = asked.iter().filter_map(|entry| entry["path"].as_str()).collect();
    assert!(paths.iter().all(|asked| asked.starts_with(path)), "{paths:?}");
    let there = match upstream {
        "bedrock" => "us.anthropic.claude-opus-4-6-v1",
        "vertex" => "claude-haiku-4-5@20251001",
        "foundry" => AT_FOUNDRY,
        "aws" => AT_AWS,
        _ => SONNET,
    };
    assert!(asked.iter().all(|entry| entry["model"] == there), "each upstream is asked by its own name for the model");
    let mark = |entry: &Value| entry["request_sha256"].as_str().expect("a digest")[..16].to_owned();
    let answer = said["result"].as_str().expect("a result");
    assert!(answer.starts_with(&mark(&asked[4])), "{answer:?}");
    let body = |turn: usize| asked[turn]["request_body"].as_str().expect("a body");
    assert!(body(2).contains(r#""thinking":{"#), "thinking is asked for");
    let (thought, told) = (format!("EqQBCkYIBxgCKkD{}", mark(&asked[2])), "river-is-42");
    assert!(body(3).contains(&thought), "the thinking goes back with its signature");
    assert!(body(3).contains(told) && !body(2).contains(told), "the tool ran, and what it printed goes back");

    is_booked(&weir, mode, upstream, &said, &asked);
    let second = mode.ask(&weir, model, "And one word more");
    assert_eq!((&second["is_error"], &second["api_error_status"]), (&json!(true), &json!(429)), "{second}");
    let shown = second["result"].as_str().expect("a result");
    assert_eq!(shown.matches(BLOCKED_MESSAGE).count(), 1, "{shown:?}");
    assert!(shown.contains("spend limit reached (daily; resets "), "{shown:?}");
    let refused = records(&weir, 1, |record| record["refused_by"] == "budget_spent");
    assert_eq!((&refused[0]["format"], &refused[0]["session"]), (&json!(mode.format), &second["session_id"]));
    assert_eq!(provider.books()["totals"]["requests"], 5, "no call upstream without money");
}

/// Every request stands in the books under its caller, with what the provider billed.
fn is_booked(weir: &Weir, mode: &Mode, upstream: &str, said: &Value, asked: &[Value]) {
    let session = said["session_id"].as_str().expect("a session id");
    let noted = records(weir, asked.len(), |record| record["session"] == session);
    let (mut spent, mut answered) = (0.0, 0.0);
    for (record, entry) in noted.iter().zip(asked) {
        let who = (&record["key"], &record["user"], &record["team"]);
        assert_eq!(who, (&json!("dev-alice"), &json!(ALICE), &json!("platform")), "{record}");
        let place = (&record["format"], &record["upstream"]);
        assert_eq!(place, (&json!(mode.format), &json!(upstream)), "{record}");
        assert_eq!(record["usage"], billed(entry), "{record}\n{entry}");
        spent += dollars(&record["cost_usd"]);
        if entry["outcome"] == "completed" {
            answered += dollars(&record["cost_usd"]);
        }
    }
    let row = usage_row(weir, "key,user,session", |row| row["session"] == session && row["output_tokens"] != 0);
    assert_eq!((&row["key"], &row["user"]), (&json!("dev-alice"), &json!(ALICE)), "{row}");
    let output: u64 = asked.iter().filter_map(|entry| entry["usage"]["output"].as_u64()).sum();
    assert_eq!(row["output_tokens"], output, "{row}");
    assert!((dollars(&row["cost_usd"]) - spent).abs() < 1e-9, "{row}: {spent}");
    // Claude Code prices the answers from its own table: both must come to the same bill.
    let theirs = said["total_cost_usd"].as_f64().expect("a cost");
    assert!((answered - theirs).abs() < 1e-9, "weir books ${answered}, Claude Code ${theirs}");
}

#[test]
fn bedrock_mode_shows_why_a_stream_broke_off() {
    isolated(|| shows_the_end(&BEDROCK, "us.anthropic.claude-opus-4-6-v1", "Too many requests"));
}

#[test]
fn bedrock_mode_shows_why_a_stream_of_anthropics_broke_off() {
    isolated(|| shows_the_end(&BEDROCK, "us.anthropic.claude-sonnet-4-6", "Overloaded"));
}

#[test]
fn vertex_mode_shows_that_a_stream_broke_off() {
    isolated(|| shows_the_end(&VERTEX, "claude-haiku-4-5@20251001", "may be incomplete"));
}

#[test]
fn messages_mode_shows_why_a_stream_of_bedrocks_broke_off() {
    isolated(|| shows_the_end(&MESSAGES, AT_BEDROCK, "Too many requests"));
}

/// A stream that ends in an error after a whole block of text.
fn shows_the_end(mode: &Mode, model: &str, words: &str) {
    let (provider, weir) = start_everywhere("");
    let said = mode.ask(&weir, model, "Reply with one word [[sim events=2 event_bytes=120 error_at=5]]");
    assert_eq!(said["is_error"], true, "{said}");
    assert!(said["result"].as_str().is_some_and(|shown| shown.contains(words)), "{said}");
    let tries = provider.books()["totals"]["requests"].as_u64().expect("a number");
    let noted = records(&weir, tries as usize, |record| record["session"] == said["session_id"]);
    assert!(noted.iter().all(|record| record["usage_source"] == "estimated"), "{noted:#?}");
}

#[test]
fn bedrock_mode_that_signs_is_told_what_to_set() {
    isolated(|| {
        let (provider, weir) = start_everywhere("");
        let base = format!("{}/bedrock", weir.url());
        let variables = [
            ("CLAUDE_CODE_USE_BEDROCK", "1"),
            ("ANTHROPIC_BEDROCK_BASE_URL", base.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", ALICE_KEY),
        ];
        let said = claude_code(&variables, "us.anthropic.claude-sonnet-4-6", "Reply with one word");
        assert_eq!((&said["is_error"], &said["api_error_status"]), (&json!(true), &json!(403)), "{said}");
        let shown = said["result"].as_str().expect("a result");
        assert!(shown.contains("CLAUDE_CODE_SKIP_BEDROCK_AUTH=1"), "{shown:?}");
        assert_eq!(provider.books()["totals"]["requests"], 0);
    });
}
