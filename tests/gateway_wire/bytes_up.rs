//! Law 1 on the way up: the provider receives the client's bytes, and of its headers exactly those that are its business.

use serde_json::json;

use crate::fixture::{
    Bench, KEY, MODEL, assert_own_error, bench, chunk, chunked_head, config, long_prompt, message, message_with,
    prompt, sha256,
};
use crate::support::Weir;
use crate::support::http::Connection;

/// Bodies that parsing and printing would change.
fn odd_bodies() -> Vec<(&'static str, String)> {
    let tail = r#""max_tokens":5,"messages":[{"role":"user","content":"x"}]"#;
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    vec![
        ("unknown fields", format!(r#"{{"model":"{MODEL}","x_new":{{"b":1,"a":[null,true]}},{tail},"speed":"fast"}}"#)),
        ("key order", format!(r#"{{"zeta":1,"alpha":2,{tail},"model":"{MODEL}","beta":3}}"#)),
        (
            "big integers",
            format!(r#"{{"model":"{MODEL}","n":12345678901234567890123,"f":1.10000000000000000001e400,{tail}}}"#),
        ),
        (
            "escapes",
            format!(r#"{{"model":"{MODEL}","s":"\u0000\u00e9\/\ud83d\ude00 \ud800 é","\u006dodel_x":1,{tail}}}"#),
        ),
        ("a regex of a tool", format!(r#"{{"model":"{MODEL}","tools":[{{"pattern":"^\\p{{L}}+\\x00$"}}],{tail}}}"#)),
        ("nesting", format!(r#"{{"model":"{MODEL}","deep":{nested},{tail}}}"#)),
        ("white space", format!("\n{{\t\"model\" :\r\n \"{MODEL}\"\t,  {tail}\n\n}}\r\n  ")),
        ("duplicate keys that decide nothing", format!(r#"{{"model":"{MODEL}","a":1,"a":2,{tail}}}"#)),
        ("an escaped model", format!(r#"{{"model":"claude\u002dsonnet-4-6",{tail}}}"#)),
        (
            "an attribution block",
            format!(
                r#"{{"model":"{MODEL}","system":[{{"type":"text","text":"x-anthropic-billing-header: a=b"}},{{"type":"text","text":"s","cache_control":{{"type":"ephemeral"}}}}],{tail}}}"#
            ),
        ),
        (
            "newest fields",
            format!(
                r#"{{"model":"{MODEL}","context_management":{{"edits":[]}},"thinking":{{"type":"adaptive"}},"output_config":{{"effort":"low"}},"safeguards":{{}},{tail}}}"#
            ),
        ),
        (
            "the words of the scanner inside strings",
            format!(r#"{{"note":"\"model\":\"gpt-9\",\"stream\":true","model":"{MODEL}",{tail}}}"#),
        ),
    ]
}

#[test]
fn a_body_arrives_byte_for_byte_however_oddly_it_is_written() {
    let bench = bench("");
    let mut connection = bench.connect();
    for (number, (name, body)) in odd_bodies().into_iter().enumerate() {
        connection.send(&message(bench.weir.clients(), "", body.as_bytes()));
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let entry = bench.entry(number as u64 + 1);
        assert_eq!((entry.request_sha256, entry.request_bytes), (sha256(body.as_bytes()), body.len() as u64), "{name}");
    }
}

#[test]
fn a_body_arrives_byte_for_byte_wherever_the_network_cut_it() {
    let bench = bench("");
    let mut count = 0;
    for (name, body) in odd_bodies() {
        for pieces in [1, 3, 64] {
            count += 1;
            let mut bytes = chunked_head(bench.weir.clients(), "");
            body.as_bytes().chunks(pieces).for_each(|piece| bytes.extend_from_slice(&chunk(piece)));
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut connection = bench.connect();
            connection.send(&bytes);
            assert_eq!(connection.read_response().status, 200, "{name}");
            assert_eq!(bench.entry(count).request_sha256, sha256(body.as_bytes()), "{name} in pieces of {pieces}");
        }
    }
}

#[test]
fn large_prompts_arrive_whole_by_length_and_by_chunks_even_if_the_model_comes_last() {
    let bench = bench("");
    let addr = bench.weir.clients();
    let last = |bytes: usize| {
        let text = "x".repeat(bytes);
        format!(r#"{{"max_tokens":5,"messages":[{{"role":"user","content":"{text}"}}],"model":"{MODEL}"}}"#)
            .into_bytes()
    };
    for (number, body) in
        [long_prompt(5 << 20), long_prompt(31 << 20), last(5 << 20), last(31 << 20)].iter().enumerate()
    {
        let mut connection = bench.connect();
        if number == 2 {
            connection.send(&chunked_head(addr, ""));
            body.chunks(100_003).for_each(|piece| connection.send(&chunk(piece)));
            connection.send(b"0\r\n\r\n");
        } else {
            connection.send(&message(addr, "", body));
        }
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        assert_eq!(bench.entry(number as u64 + 1).request_sha256, sha256(body), "{number}");
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused_and_never_sent() {
    let bench = bench("");
    for body in [
        "",
        "[]",
        "null",
        "{",
        r#"{"model":}"#,
        r#"{"model":5}"#,
        r#"{"model":""}"#,
        r#"{"max_tokens":5}"#,
        "\u{feff}{}",
    ] {
        assert_own_error(&bench.ask("", body.as_bytes()), 400, "invalid_request_error");
    }
    let answer = bench.ask("", br#"{"model":"gpt-9","max_tokens":1,"messages":[]}"#);
    assert_eq!(answer.header("x-weir-origin"), None, "ids not listed pass through to the provider");
    let answered = bench.books(1).entries.iter().filter(|entry| entry.status != 0).count();
    assert_eq!(answered, 1);
}

fn forwarded(bench: &Bench, more: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let mut connection = bench.connect();
    connection.send(&message_with(bench.weir.clients(), "", more, &prompt(false, "headers")));
    let answer = connection.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = bench.entry(1);
    let twice: Vec<_> = ["host", "content-length", "x-api-key", "accept-encoding"]
        .into_iter()
        .filter(|name| entry.header_names.iter().filter(|known| known.eq_ignore_ascii_case(name)).count() != 1)
        .collect();
    assert!(twice.is_empty(), "exactly one each of {twice:?} in {:?}", entry.header_names);
    let ours = weir::loadtest::provider::fingerprint(crate::support::PROVIDER_KEY.as_bytes());
    assert_eq!(entry.credential_fingerprint, ours, "the provider sees weir's credential");
    let mut seen = entry.headers;
    for name in entry.header_names {
        seen.entry(name.to_ascii_lowercase()).or_default();
    }
    seen
}

#[test]
fn headers_of_the_api_go_up_with_unknown_values_and_names() {
    let bench = bench("");
    let sent = [
        ("anthropic-beta", "context-1m-2025-08-07,never-heard-of-2031-01-01"),
        ("Anthropic-Foo", "bar"),
        ("anthropic-workspace-id", "wrkspc_1"),
        ("user-agent", "claude-cli/2.1.329 (external, cli)"),
        ("x-app", "cli"),
        ("x-stainless-retry-count", "0"),
        ("x-client-request-id", "c-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("idempotency-key", "i-1"),
    ];
    let seen = forwarded(&bench, &sent);
    for (name, value) in sent {
        assert_eq!(seen.get(&name.to_ascii_lowercase()).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(seen["anthropic-version"], "2023-06-01");
    assert_eq!(seen["accept-encoding"], "identity", "what is metered must be readable");
    assert_eq!(seen["host"], bench.provider.addr().to_string());
    let repeated = forwarded(&bench, &[("anthropic-beta", "a"), ("x-api-key", KEY), ("anthropic-beta", "b")]);
    assert_eq!(repeated["anthropic-beta"], "a, b", "both, in order");
}

#[test]
fn credentials_cookies_and_what_belongs_to_this_hop_never_go_up() {
    let bench = bench("");
    let bearer = format!("Bearer {KEY}");
    let stays = [
        ("authorization", bearer.as_str()),
        ("api-key", KEY),
        ("cookie", "session=1"),
        ("x-amz-security-token", "t"),
        ("x-amz-date", "20260101T000000Z"),
        ("x-goog-user-project", "p"),
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x-t"),
        ("upgrade", "h2c"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-claude-code-session-id", "s-1"),
        ("x-claude-code-from-the-future", "1"),
        ("x-tenant", "acme"),
        ("connection", "keep-alive, x-foo, Anthropic-Hop"),
        ("x-foo", "1"),
        ("anthropic-hop", "1"),
    ];
    let mut more = stays.to_vec();
    more.push(("accept-encoding", "gzip, br"));
    let seen = forwarded(&bench, &more);
    for (name, _) in stays {
        assert!(!seen.contains_key(name), "{name} went up: {seen:?}");
    }
    assert_eq!(seen["accept-encoding"], "identity");
    assert!(!format!("{seen:?}").contains(KEY), "the caller's credential never goes up");
    let log = bench.weir.log();
    assert!(!log.contains(KEY) && !log.contains(crate::support::PROVIDER_KEY), "and nobody's is logged");
}

#[test]
fn a_key_is_found_in_either_header_and_two_different_ones_are_refused() {
    let keys = "\n[[key]]\nid = \"dev-bob\"\nsecret = \"${BOB_KEY}\"\nuser = \"bob@example.com\"\n";
    let provider = crate::fixture::provider();
    let config = config(&format!("http://{}", provider.addr()), keys);
    let weir = Weir::start_with(&config, &[("ALICE_KEY", KEY), ("BOB_KEY", "weir-key-of-bob-0123456789abcdef")]);
    let ask = |credentials: &str| {
        let text = String::from_utf8(message(weir.clients(), "", &prompt(false, "who"))).expect("text");
        let mut connection = Connection::open(weir.clients());
        connection.send(text.replace(&format!("x-api-key: {KEY}\r\n"), credentials).as_bytes());
        connection.read_response()
    };
    for credentials in [
        format!("authorization: Bearer {KEY}\r\n"),
        format!("Authorization: bearer  {KEY}\r\n"),
        format!("x-api-key: {KEY}\r\n"),
        format!("authorization: Bearer {KEY}\r\nx-api-key: {KEY}\r\n"),
        format!("authorization: Bearer sk-ant-oat01-somebody-elses\r\nx-api-key: {KEY}\r\n"),
    ] {
        assert_eq!(ask(&credentials).status, 200, "{credentials}");
    }
    let both = ask(&format!("authorization: Bearer {KEY}\r\nx-api-key: weir-key-of-bob-0123456789abcdef\r\n"));
    assert_own_error(&both, 401, "authentication_error");
    let none = ask("");
    assert_own_error(&none, 401, "authentication_error");
    assert!(none.text().contains("x-api-key"), "the header to use is named: {}", none.text());
    assert_eq!(none.header("x-should-retry"), Some("false"));
}

#[test]
fn an_alias_changes_the_bytes_of_the_model_id_and_no_other() {
    let models = r#"
[[model]]
id = "claude-opus-5-5"
aliases = ["opus"]
targets = [{ upstream = "simulated", model = "vendor.claude-opus-5-5-v2" }]
"#;
    let bench = bench(models);
    let target = json!("vendor.claude-opus-5-5-v2").to_string();
    let bodies = [
        r#"{"model":"opus","max_tokens":5,"messages":[{"role":"user","content":"opus"}],"opus":"opus"}"#,
        r#"{ "n":1.0, "max_tokens":5,"messages":[{"role":"user","content":"x"}] , "model" : "opus" }"#,
        r#"{"model":"\u006fpus","max_tokens":5,"messages":[{"role":"user","content":"é"}]}"#,
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let expected = body.replacen(r#": "opus""#, &format!(": {target}"), 1);
        let expected = expected.replacen(r#""model":"opus""#, &format!(r#""model":{target}"#), 1);
        let expected = expected.replacen(r#""\u006fpus""#, &target, 1);
        for chunked in [false, true] {
            let mut connection = bench.connect();
            if chunked {
                connection.send(&chunked_head(bench.weir.clients(), ""));
                body.as_bytes().chunks(3).for_each(|piece| connection.send(&chunk(piece)));
                connection.send(b"0\r\n\r\n");
            } else {
                connection.send(&message(bench.weir.clients(), "", body.as_bytes()));
            }
            let answer = connection.read_response();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let entry = bench.entry(number as u64 * 2 + 1 + u64::from(chunked));
            assert_eq!(entry.model, "vendor.claude-opus-5-5-v2");
            assert_eq!(entry.request_sha256, sha256(expected.as_bytes()), "{body}");
        }
    }
}

#[test]
fn the_window_suffix_of_the_client_is_cut_off_and_nothing_else() {
    let bench = bench("");
    let body = r#"{"max_tokens":5,"model":"claude-sonnet-4-6[1m]","messages":[{"role":"user","content":"[1m]"}]}"#;
    assert_eq!(bench.ask("", body.as_bytes()).status, 200);
    let expected = body.replacen("-4-6[1m]", "-4-6", 1);
    assert_eq!(bench.entry(1).request_sha256, sha256(expected.as_bytes()));
}
