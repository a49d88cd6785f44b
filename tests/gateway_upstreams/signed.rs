//! Requests signed for AWS, checked by the vendor's own signer.

use std::io::Write as _;

use crate::fixture::{ALICE_KEY, AWS_ID, AWS_SECRET, Gateway, body, start};
use crate::support::http::Connection;

const KEYS: &str = "auth = { access_key_id = \"${AWS_ID}\", secret_access_key = \"${AWS_SECRET}\" }";
const ENVIRONMENT: [(&str, &str); 2] = [("AWS_ID", AWS_ID), ("AWS_SECRET", AWS_SECRET)];

fn key() -> String {
    format!("{AWS_ID}:{AWS_SECRET}")
}

fn signing(more: &[&str], upstream: &str) -> Gateway {
    let key = key();
    let arguments = [&["--aws-key", &key], more].concat();
    start(&arguments, &format!("{upstream}\n{KEYS}"), &ENVIRONMENT)
}

const MESSAGES: &str = "provider = \"bedrock\"\nendpoint = \"messages\"\nregion = \"eu-west-1\"";

#[test]
fn a_service_of_aws_refuses_the_signature() {
    for (service, upstream) in [
        ("eu-west-1/bedrock", MESSAGES),
        ("eu-west-1/bedrock-mantle", "provider = \"bedrock\"\nendpoint = \"mantle\"\nregion = \"eu-west-1\""),
        (
            "us-west-2/aws-external-anthropic",
            "provider = \"anthropic_aws\"\nregion = \"us-west-2\"\nworkspace_id = \"wrkspc_01\"",
        ),
    ] {
        let gateway = signing(&["--sigv4", service], upstream);
        gateway.served();
        let options = [("x-amzn-bedrock-trace", "ENABLED"), ("anthropic-beta", "a-1, b-2"), ("anthropic-beta", "c-3")];
        let answer = gateway.ask_with(&options, &body("claude-sonnet-4-6", "Hello"));
        assert_eq!(answer.status, 200, "{service}: {}", answer.text());
    }
}

#[test]
fn a_body_in_pieces_or_with_an_edit_has_another_hash() {
    let more = "[[model]]\nid = \"claude-sonnet-4-6\"\naliases = [\"sonnet\"]\ntargets = [ { upstream = \"main\", model = \"eu.anthropic.claude-sonnet-4-6\" } ]\n";
    let provider = crate::support::Provider::start_with(&["--aws-key", &key(), "--sigv4", "eu-west-1/bedrock"]);
    let config = format!(
        "[[upstream]]\nname = \"main\"\nbase_url = \"http://SIM_ADDRESS\"\n{MESSAGES}\n{KEYS}\n{more}{}",
        crate::fixture::REST
    );
    let gateway = crate::fixture::start_whole(provider, &config, &ENVIRONMENT);
    for text in ["short".to_owned(), "long ".repeat(60_000), "very long ".repeat(400_000)] {
        let answer = gateway.ask_with(&[], &body("sonnet", &text));
        assert_eq!(answer.status, 200, "{} bytes: {}", text.len(), answer.text());
    }
    // The same in chunks, whose length nobody knows at the head.
    let mut connection = Connection::open(gateway.weir.clients());
    let mut request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {ALICE_KEY}\r\nanthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for part in body("sonnet", &"in pieces ".repeat(5_000)).chunks(1_013) {
        write!(request, "{:x}\r\n", part.len()).expect("memory");
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    connection.send(&request);
    let answer = connection.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let books = gateway.provider.books_of(4);
    let framings: Vec<&str> =
        books["entries"].as_array().expect("entries").iter().filter_map(|e| e["request_framing"].as_str()).collect();
    assert_eq!(framings, ["length"; 4], "a signed body is whole, so its length is known");
}

#[test]
fn a_body_too_large_to_sign_is_held_or_cut() {
    let gateway = signing(&["--sigv4", "eu-west-1/bedrock"], MESSAGES);
    let answer = gateway.ask_with(&[], &body("claude-sonnet-4-6", &"x".repeat(26_000_000)));
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("25 MB"), "{}", answer.text());
    gateway.served();
    assert_eq!(gateway.provider.books_of(1)["totals"]["requests"], 1);
}

#[test]
fn a_clock_that_differs_ends_the_service() {
    let gateway = signing(&["--sigv4", "eu-west-1/bedrock", "--clock-ahead", "-900"], MESSAGES);
    // The first is refused, the offset learnt from its Date, and asked again: the client sees none of it.
    gateway.served();
    let refusals = |books: &serde_json::Value| {
        books["entries"].as_array().map_or(0, |all| all.iter().filter(|e| e["status"] == 403).count())
    };
    assert_eq!(refusals(&gateway.provider.books_of(2)), 1);
    let skew = gateway.credential()["clock_skew_seconds"].as_i64().expect("a number");
    assert!((-905..=-895).contains(&skew), "{skew}");
    // Whichever shard serves the next ones, it knows.
    for _ in 0..6 {
        gateway.served();
    }
    assert_eq!(refusals(&gateway.provider.books_of(8)), 1);
}

#[test]
fn a_wrong_secret_is_the_clients_401() {
    let other = format!("{AWS_ID}:another-secret");
    let gateway =
        start(&["--sigv4", "eu-west-1/bedrock", "--aws-key", &other], &format!("{MESSAGES}\n{KEYS}"), &ENVIRONMENT);
    crate::fixed::refused(&gateway, "a wrong secret");
}

#[test]
fn a_model_id_with_a_slash_or_a_colon_breaks_the_signature_of_invoke_model() {
    let arn = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-6";
    let provider = crate::support::Provider::start_with(&["--aws-key", &key(), "--sigv4", "eu-west-1/bedrock"]);
    let config = format!(
        "[[upstream]]\nname = \"main\"\nbase_url = \"http://SIM_ADDRESS\"\nprovider = \"bedrock\"\nregion = \"eu-west-1\"\n{KEYS}\n\
         [[model]]\nid = \"claude-sonnet-4-6\"\ntargets = [ {{ upstream = \"main\", model = \"{arn}\" }} ]\n{}",
        crate::fixture::REST
    );
    let gateway = crate::fixture::start_whole(provider, &config, &ENVIRONMENT);
    // A Messages client, bridged.
    gateway.served();
    // Clients of Bedrock's own format write ids in three ways, and options that must be signed.
    let bearer = format!("Bearer {ALICE_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-amzn-bedrock-guardrailidentifier", "gr-1"),
        ("x-amzn-bedrock-service-tier", "priority"),
    ];
    let body =
        br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":10,"messages":[{"role":"user","content":"Hi"}]}"#;
    let encoded = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-4-6";
    for id in [arn.replace('/', "%2F").as_str(), encoded, "eu.anthropic.claude-sonnet-4-6-v1:0"] {
        let path = format!("/model/{id}/invoke");
        let answer = crate::support::http::request(gateway.weir.clients(), "POST", &path, &headers, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let books = gateway.provider.books_of(4);
    let entries = books["entries"].as_array().expect("entries");
    assert!(entries[1..].iter().all(|e| e["headers"]["x-amzn-bedrock-guardrailidentifier"] == "gr-1"), "{books}");
}
