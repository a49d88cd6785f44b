//! Response heads and error bodies, as Anthropic writes them (contract.md §2.5, §3.4).

use std::cell::RefCell;
use std::fmt::Write as _;

use crate::kernel::record::Format;

use super::clock;
use super::message::quoted;
use super::script::StatusScript;

const ORGANIZATION_ID: &str = "5f0c6a1e-9d3b-4e57-8a55-0c1d2e3f4a5b";

/// How the response body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(usize),
    Chunked,
    UntilClose,
}

/// What differs from head to head.
#[derive(Debug)]
pub(super) struct ReplyHead<'a> {
    pub(super) status: u16,
    /// Bedrock has headers of its own.
    pub(super) format: Format,
    pub(super) request_id: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: BodyLength,
    pub(super) close: bool,
    pub(super) gzip: bool,
    pub(super) trailers: bool,
    /// The four `anthropic-ratelimit-*` families.
    pub(super) ratelimits: bool,
    /// Whole header lines, each with its CRLF.
    pub(super) extra: &'a str,
}

impl ReplyHead<'_> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = String::with_capacity(1024);
        // Writing to a String cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        with_dated(|dated| out.push_str(&dated.date));
        if !self.content_type.is_empty() {
            let _ = write!(out, "Content-Type: {}\r\n", self.content_type);
        }
        let _ = match self.body {
            BodyLength::Known(bytes) => write!(out, "Content-Length: {bytes}\r\n"),
            BodyLength::Chunked => write!(out, "Transfer-Encoding: chunked\r\n"),
            BodyLength::UntilClose => Ok(()),
        };
        out.push_str(if self.close { "Connection: close\r\n" } else { "Connection: keep-alive\r\n" });
        if self.content_type.starts_with("text/event-stream") {
            out.push_str("Cache-Control: no-cache\r\n");
        }
        if self.gzip {
            out.push_str("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
        }
        if self.trailers {
            out.push_str("Trailer: x-sim-trailer\r\n");
        }
        if self.ratelimits && self.format == Format::Anthropic {
            with_dated(|dated| out.push_str(&dated.ratelimits));
        }
        out.push_str(self.extra);
        if self.format == Format::Bedrock {
            let _ = write!(out, "x-amzn-RequestId: {}\r\n\r\n", self.request_id);
            return out.into_bytes();
        }
        let _ = write!(
            out,
            "request-id: {}\r\nanthropic-organization-id: {ORGANIZATION_ID}\r\nServer: cloudflare\r\n\
             strict-transport-security: max-age=31536000; includeSubDomains; preload\r\nVia: 1.1 google\r\n\
             X-Robots-Tag: none\r\n\r\n",
            self.request_id
        );
        out.into_bytes()
    }
}

/// Header lines that change once a second.
struct Dated {
    unix_s: u64,
    date: String,
    ratelimits: String,
}

impl Dated {
    fn at(unix_s: u64) -> Dated {
        let reset = clock::rfc3339(unix_s + 1);
        let families =
            [("requests", 4000), ("input-tokens", 2_000_000), ("output-tokens", 400_000), ("tokens", 2_400_000)];
        let lines = families.map(|(family, limit)| {
            format!(
                "anthropic-ratelimit-{family}-limit: {limit}\r\nanthropic-ratelimit-{family}-remaining: {}\r\n\
                 anthropic-ratelimit-{family}-reset: {reset}\r\n",
                limit - 1
            )
        });
        Dated { unix_s, date: format!("Date: {}\r\n", clock::http_date(unix_s)), ratelimits: lines.concat() }
    }
}

/// Gives the lines of this second, formatted once a second and thread.
fn with_dated(use_lines: impl FnOnce(&Dated)) {
    thread_local! {
        static NOW: RefCell<Dated> = RefCell::new(Dated::at(0));
    }
    let unix_s = clock::unix_ms() / 1000;
    NOW.with_borrow_mut(|now| {
        if now.unix_s != unix_s {
            *now = Dated::at(unix_s);
        }
        use_lines(now);
    });
}

/// Header lines that a scripted error carries.
pub(super) fn retry_lines(script: &StatusScript) -> String {
    let mut out = String::new();
    if let Some(seconds) = script.retry_after {
        let _ = write!(out, "retry-after: {seconds}\r\n");
    }
    if let Some(retry) = script.should_retry {
        let _ = write!(out, "x-should-retry: {retry}\r\n");
    }
    out
}

/// An error body.
pub(super) fn error_json(status: u16, message: &str, error_code: Option<&str>, request_id: &str) -> Vec<u8> {
    let details = error_code.map(|code| format!(r#","details":{{"error_code":"{code}"}}"#)).unwrap_or_default();
    let (kind, message) = (error_type(status), quoted(message));
    format!(
        r#"{{"type":"error","error":{{"type":"{kind}","message":{message}{details}}},"request_id":"{request_id}"}}"#
    )
    .into_bytes()
}

/// `error.type` of a status (contract.md §2.5).
pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

/// What Anthropic says with a status, when the script does not.
pub(super) fn default_message(status: u16) -> &'static str {
    match status {
        400 => "messages.0.content: simulated invalid request",
        401 => "invalid x-api-key",
        402 => "Your credit balance is too low to access the Anthropic API.",
        403 => "Your API key does not have permission to use the specified resource.",
        404 => "Not found",
        413 => "Request exceeds the maximum size",
        429 => "This request would exceed your organization's rate limit.",
        504 => "Request timed out",
        529 => "Overloaded",
        500..=599 => "Internal server error",
        _ => "simulated error",
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}

/// An informational head.
pub(super) fn informational(status: u16) -> Vec<u8> {
    let link = if status == 103 { "Link: </style.css>; rel=preload; as=style\r\n" } else { "" };
    format!("HTTP/1.1 {status} {}\r\n{link}\r\n", reason(status)).into_bytes()
}
