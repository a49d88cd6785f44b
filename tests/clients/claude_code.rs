//! Claude Code in print mode: one prompt, one answer, and what the gateway has written down about it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::gateway::{
    ALICE, ALICE_KEY, BLOCKED_MESSAGE, DEAR_ANSWER, JWT, JWT_SECRET, SONNET, TINY_BUDGET, home, start, start_with,
};
use crate::install::clients_dir;
use crate::sandbox::{client, isolated, told};
use crate::support::{DEADLINE, Weir, eventually};

#[test]
fn claude_code_answer_arrives_and_usage_is_booked() {
    isolated(|| {
        let (provider, weir) = start("");
        let usage = "input_tokens=1200 cache_read=30000 cache_5m=400 cache_1h=70 output_tokens=321";
        let prompt = format!("Reply with one word [[sim events=4 event_bytes=120 {usage}]]");
        let said = claude(&weir, &prompt, &[("ANTHROPIC_AUTH_TOKEN", ALICE_KEY)]);
        assert_eq!(said["is_error"], false, "{said}");

        let books = provider.books_of(1);
        let call = &books["entries"][0];
        assert_eq!((&call["path"], &call["status"]), (&json!("/v1/messages?beta=true"), &json!(200)), "{call}");
        // The provider begins each answer with the first half of the request's digest.
        let mark = &call["request_sha256"].as_str().expect("a digest")[..16];
        let answer = said["result"].as_str().expect("a result");
        assert!(answer.starts_with(mark) && answer.contains("\"quoted\"\n\ndata: {}\t"), "{mark} begins {answer:?}");

        let session = said["session_id"].as_str().expect("a session id");
        let row = usage_row(&weir, "user,session", |row| row["session"] == session);
        assert_eq!((&row["user"], &row["requests"]), (&json!(ALICE), &json!(1)), "{row}");
        let billed = &books["totals"]["models"][SONNET]["usage"];
        for (ours, theirs) in [
            ("input_tokens", "input"),
            ("output_tokens", "output"),
            ("cache_read_tokens", "cache_read"),
            ("cache_write_5m_tokens", "cache_write_5m"),
            ("cache_write_1h_tokens", "cache_write_1h"),
        ] {
            assert_eq!(row[ours], billed[theirs], "{ours} of {row} and {theirs} of {billed}");
        }
        // Claude Code prices the call from its own table: both must come to the same bill.
        let ours: f64 = row["cost_usd"].as_str().and_then(|cost| cost.parse().ok()).expect("a cost");
        let theirs = said["total_cost_usd"].as_f64().expect("a cost");
        assert!((ours - theirs).abs() < 1e-9, "weir books ${ours}, Claude Code ${theirs}");
    });
}

#[test]
fn claude_code_sends_a_helpers_key_in_both_headers_and_is_let_in() {
    isolated(|| {
        let (provider, weir) = start("");
        let settings = home().join(".claude");
        fs::create_dir_all(&settings).expect("a folder for the settings");
        let helper = json!({ "apiKeyHelper": format!("printf %s {ALICE_KEY}") });
        fs::write(settings.join("settings.json"), helper.to_string()).expect("the settings are written");

        let said = claude(&weir, "Reply with one word [[sim event_bytes=120]]", &[]);
        assert_eq!(said["is_error"], false, "{said}");
        let call = &provider.books_of(1)["entries"][0];
        let row = usage_row(&weir, "user,session", |row| row["session"] == said["session_id"]);
        assert_eq!(row["user"], ALICE, "{row}");
        // Neither copy of the caller's key went upstream: the provider takes its own key alone, in one header.
        let names: Vec<String> = call["header_names"].as_array().expect("names").iter().map(lower).collect();
        let credentials = names.iter().filter(|name| matches!(name.as_str(), "authorization" | "x-api-key")).count();
        assert_eq!((credentials, &call["status"]), (1, &json!(200)), "{names:?}");
    });
}

#[test]
fn claude_code_asks_its_helper_again_when_a_token_has_expired() {
    isolated(|| {
        let (provider, weir) = start_with(JWT, &[("JWT_SECRET", JWT_SECRET)]);
        let settings = home().join(".claude");
        fs::create_dir_all(&settings).expect("a folder for the settings");
        // The first token the helper prints is over; each later one is good.
        let (calls, helper) = (home().join("helper-calls"), home().join("helper.sh"));
        let (stale, good) = (token(-3600), token(3600));
        let script = format!(
            "echo >> {0}; if [ $(wc -l < {0}) -gt 1 ]; then printf %s {good}; else printf %s {stale}; fi",
            calls.display()
        );
        fs::write(&helper, script).expect("the helper is written");
        let helper = json!({ "apiKeyHelper": format!("sh {}", helper.display()) });
        fs::write(settings.join("settings.json"), helper.to_string()).expect("the settings are written");

        let said = claude(&weir, "Reply with one word [[sim event_bytes=120]]", &[]);
        assert_eq!(said["is_error"], false, "{said}");
        assert_eq!(provider.books()["totals"]["requests"], 1, "only the good token reaches the provider");
        let row = usage_row(&weir, "user,team,session", |row| row["session"] == said["session_id"]);
        assert_eq!((&row["user"], &row["team"]), (&json!("carol@example.com"), &json!("tokens")), "{row}");
        weir.all_booked();
        assert!(
            weir.metric("weir_requests_total", &["status=\"401\""]) >= 1.0,
            "the stale token was shown and refused"
        );
    });
}

/// A token of carol's that ends so many seconds from now.
fn token(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let claims =
        json!({"iss": "helper", "aud": "weir", "exp": now + seconds, "user": "carol@example.com", "team": "tokens"});
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

#[test]
fn claude_code_shows_the_budget_message_once() {
    isolated(|| {
        let (provider, weir) = start(TINY_BUDGET);
        let prompt = format!("Reply with one word [[sim {DEAR_ANSWER}]]");
        let key = [("ANTHROPIC_AUTH_TOKEN", ALICE_KEY)];
        let first = claude(&weir, &prompt, &key);
        assert_eq!(first["is_error"], false, "the first call finds room: {first}");
        usage_row(&weir, "user", |row| row["user"] == ALICE && row["cost_usd"] != "0.000000000");

        let second = claude(&weir, &prompt, &key);
        assert_eq!((&second["is_error"], &second["api_error_status"]), (&json!(true), &json!(429)), "{second}");
        let shown = second["result"].as_str().expect("a result");
        assert_eq!(shown.matches(BLOCKED_MESSAGE).count(), 1, "{shown:?}");
        assert!(shown.contains("spend limit reached (daily; resets "), "{shown:?}");
        assert_eq!(provider.books()["totals"]["requests"], 1, "no call upstream without money");
        weir.all_booked();
        assert_eq!(weir.metric("weir_requests_total", &["status=\"429\""]), 1.0, "Claude Code does not try again");
    });
}

#[test]
fn claude_code_with_an_unknown_key_stops_at_the_first_answer() {
    isolated(|| {
        let (provider, weir) = start("");
        let said = claude(&weir, "Reply with one word", &[("ANTHROPIC_AUTH_TOKEN", "weir-key-of-nobody")]);
        assert_eq!((&said["is_error"], &said["api_error_status"]), (&json!(true), &json!(401)), "{said}");
        assert_eq!(provider.books()["totals"]["requests"], 0, "a stranger reaches no provider");
        weir.all_booked();
        assert_eq!(weir.metric("weir_requests_total", &["status=\"401\""]), 1.0, "Claude Code does not try again");
    });
}

/// One run of `claude -p` on the Messages format.
fn claude(weir: &Weir, prompt: &str, credentials: &[(&str, &str)]) -> Value {
    let url = weir.url();
    claude_code(&[&[("ANTHROPIC_BASE_URL", url.as_str())], credentials].concat(), SONNET, prompt)
}

/// The JSON document of one run of `claude -p` with these variables, whatever its exit code.
pub fn claude_code(variables: &[(&str, &str)], model: &str, prompt: &str) -> Value {
    let program = clients_dir().join("node/node_modules/@anthropic-ai/claude-code-linux-x64/claude");
    let mut command = client(&program.to_string_lossy());
    command.args(["-p", prompt, "--model", model, "--output-format", "json", "--allowedTools", "Bash"]);
    command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    // Two instead of ten: a gateway that wrongly invites a retry fails the test in seconds, not in minutes.
    command.env("CLAUDE_CODE_MAX_RETRIES", "2");
    command.envs(variables.iter().copied()).current_dir(home());
    let output = command.output().expect("claude starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("claude: {error}: {}", told(&output)))
}

/// The row of the usage report that `wanted` picks, as soon as there is one with requests in it.
pub fn usage_row(weir: &Weir, group_by: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(DEADLINE, "the usage is booked", || {
        let report = weir.admin_get(&format!("/admin/v1/usage?group_by={group_by}"));
        report["data"].as_array()?.iter().find(|row| wanted(row)).cloned()
    })
}

fn lower(name: &Value) -> String {
    name.as_str().unwrap_or_default().to_ascii_lowercase()
}
