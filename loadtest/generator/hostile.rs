//! Requests that a gateway must refuse, or whose connection it must end: what scanners, broken clients and attackers send.

use super::workload::{Expect, Request};

/// Each kind of bad request once.
pub(super) fn requests(host: &str, key: &str) -> Vec<Request> {
    let good = format!("POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n");
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":10,"messages":[]}"#;
    let json =
        |body: &str| format!("{good}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let long = "x".repeat(70_000);
    [
        // Two framings, two lengths, lengths that are none.
        format!("{good}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{good}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{{}}"),
        format!("{good}Content-Length: -1\r\n\r\n"),
        format!("{good}Transfer-Encoding: gzip, chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{good}Transfer-Encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
        format!("{good}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{body}"),
        // Heads that are none.
        "\u{16}\u{3}\u{1}\u{2}\u{0}".to_owned() + "not http at all\r\n\r\n",
        format!("POST /v1/messages HTTP/1.1\nHost: {host}\n\n"),
        format!("{good}X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        format!("{good}Bad Name: a\r\nContent-Length: 0\r\n\r\n"),
        format!("POST /v1/messages HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Length: 0\r\n\r\n"),
        format!("{good}{long}: 1\r\nContent-Length: 0\r\n\r\n"),
        format!("{good}X-Long: {long}\r\nContent-Length: 0\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        // Callers nobody knows, paths nobody serves, bodies that are none.
        format!("POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer nobody\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("GET /etc/passwd HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"),
        format!("GET /v1/../admin/v1/keys HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"),
        json("{"),
        json("[]"),
        json(r#"{"max_tokens":10,"messages":[]}"#),
        json(r#"{"model":"no-such-model","max_tokens":10,"messages":[]}"#),
        json(r#"{"model":"claude-sonnet-4-6","model":"claude-haiku-4-5-20251001","max_tokens":10}"#),
    ]
    .into_iter()
    .map(|text| Request { head: text.into_bytes(), body: Vec::new(), session_at: None, expect: Expect::Refusal })
    .collect()
}
