//! Named workloads: what is sent, and what must come back.

use std::fmt::Write as _;

/// Model that most requests name.
const MODEL: &str = "claude-sonnet-4-6";
/// Model of the fleet's small helper requests.
const HELPER_MODEL: &str = "claude-haiku-4-5-20251001";
/// Different requests that a mixed workload walks through.
const FLEET_VARIANTS: usize = 48;

/// Every workload's name and what it is.
pub const WORKLOADS: [(&str, &str); 7] = [
    ("unary", "2 KB up, 2 KB of JSON down"),
    ("upload64k", "64 KiB up, 2 KB of JSON down"),
    ("upload256k", "256 KiB up, 2 KB of JSON down"),
    ("sse", "2 KB up, a stream of 50 deltas back to back"),
    ("paced", "2 KB up, a stream of 50 deltas 2 ms apart, 500 connections"),
    ("abort", "paced streams that the client leaves at a random event"),
    ("fleet", "what a fleet of Claude Code sends: 80 KB median bodies, mixed streams"),
];

/// A workload ready to run.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Connections, unless the command line says.
    pub connections: usize,
    /// Whether clients leave streams early.
    pub aborts: bool,
    shapes: Vec<Shape>,
}

/// One kind of request.
#[derive(Debug, Clone)]
struct Shape {
    model: &'static str,
    body_bytes: usize,
    /// Deltas of a stream; `None` asks for JSON.
    deltas: Option<u32>,
    script: String,
}

/// One request as bytes, and what its answer must be.
#[derive(Debug)]
pub struct Request {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// Where the body starts.
    pub body_start: usize,
    /// SSE frames of a whole answer; `None` for JSON.
    pub frames: Option<u64>,
}

impl Workload {
    /// The workload of this name.
    ///
    /// # Errors
    /// A message that lists the names, when it is not one.
    pub fn named(name: &str, seed: u64) -> Result<Workload, String> {
        let unary = |body_bytes| shape(MODEL, body_bytes, None, "body_bytes=2048");
        let stream = |deltas, rest: &str| shape(MODEL, 2048, Some(deltas), rest);
        let (connections, aborts, shapes) = match name {
            "unary" => (64, false, vec![unary(2048)]),
            "upload64k" => (32, false, vec![unary(64 << 10)]),
            "upload256k" => (16, false, vec![unary(256 << 10)]),
            "sse" => (64, false, vec![stream(50, "")]),
            "paced" => (500, false, vec![stream(50, "gap_ms=2")]),
            "abort" => (100, true, vec![stream(100, "gap_ms=2")]),
            "fleet" => (200, false, fleet(seed)),
            _ => {
                let names: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown workload `{name}`; known: {}", names.join(", ")));
            }
        };
        let name = WORKLOADS.iter().find(|(known, _)| *known == name).map_or("", |(known, _)| known);
        Ok(Workload { name, connections, aborts, shapes })
    }

    /// The requests to send in turn. Lean ones spare the provider all that only `verify` needs.
    pub fn requests(&self, host: &str, key: &str, lean: bool) -> Vec<Request> {
        self.shapes.iter().enumerate().map(|(index, shape)| shape.request(index, host, key, lean)).collect()
    }
}

fn shape(model: &'static str, body_bytes: usize, deltas: Option<u32>, rest: &str) -> Shape {
    let events = deltas.map(|deltas| format!("events={deltas} ")).unwrap_or_default();
    Shape { model, body_bytes, deltas, script: format!("{events}{rest}") }
}

/// Bodies log-normal around 80 KB, streams of 10 to 200 deltas, every eighth request a small helper one.
fn fleet(seed: u64) -> Vec<Shape> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut variant = |index: usize| {
        if index % 8 == 7 {
            return shape(HELPER_MODEL, random.usize(1500..6000), None, "body_bytes=900");
        }
        // A sum of twelve uniform draws is normal enough.
        let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let body_bytes = (80_000.0 * (0.8 * normal).exp()).clamp(4_000.0, 2_000_000.0) as usize;
        let deltas = random.u32(10..200);
        let cache_read = body_bytes / 5;
        let rest = format!("gap_ms=10 event_bytes={} cache_read={cache_read} cache_5m=400", random.usize(8..60));
        shape(MODEL, body_bytes, Some(deltas), &rest)
    };
    (0..FLEET_VARIANTS).map(&mut variant).collect()
}

impl Shape {
    fn request(&self, index: usize, host: &str, key: &str, lean: bool) -> Request {
        let body = self.body(index);
        let lean = if lean { "lean=1 " } else { "" };
        let mut head = String::with_capacity(1024);
        // The headers that Claude Code sends, in its manner; writing to a String cannot fail.
        let _ = write!(
            head,
            "POST /v1/messages?beta=true HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nUser-Agent: claude-cli/2.1.329 (external, cli)\r\n\
             Authorization: Bearer {key}\r\nanthropic-version: 2023-06-01\r\n\
             anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14\r\n\
             anthropic-dangerous-direct-browser-access: true\r\nanthropic-sim: {lean}{}\r\n\
             X-Claude-Code-Session-Id: 7b8f2c1e-0d3a-4f5b-9c6d-{index:012x}\r\nx-app: cli\r\nX-Stainless-Arch: x64\r\n\
             X-Stainless-Lang: js\r\nX-Stainless-OS: Linux\r\nX-Stainless-Package-Version: 0.70.0\r\n\
             X-Stainless-Retry-Count: 0\r\nX-Stainless-Runtime: node\r\nX-Stainless-Runtime-Version: v24.3.0\r\n\
             X-Stainless-Timeout: 600\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n\
             Content-Length: {}\r\n\r\n",
            self.script,
            body.len()
        );
        let body_start = head.len();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        // message_start, block start, ping, block stop, message_delta and message_stop surround the deltas.
        Request { bytes, body_start, frames: self.deltas.map(|deltas| u64::from(deltas) + 6) }
    }

    /// A body of exactly `body_bytes`, where the frame around the text is not longer already.
    fn body(&self, index: usize) -> Vec<u8> {
        let front = format!(
            r#"{{"model":"{}","messages":[{{"role":"user","content":[{{"type":"text","text":"request {index}: "#,
            self.model
        );
        let back = format!(
            r#""}}]}}],"system":[{{"type":"text","text":"You are Claude Code."}}],"metadata":{{"user_id":"user_{index}"}},"max_tokens":32000,"stream":{}}}"#,
            self.deltas.is_some()
        );
        let mut body = front.into_bytes();
        let text = br#"fn main() {\n    println!(\"hello, weir\");\n}\n"#;
        while body.len() + back.len() + text.len() <= self.body_bytes {
            body.extend_from_slice(text);
        }
        body.resize(self.body_bytes.saturating_sub(back.len()).max(body.len()), b'.');
        body.extend_from_slice(back.as_bytes());
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_malformed_or_of_another_size() {
        for (name, _) in WORKLOADS {
            let workload = Workload::named(name, 1).unwrap();
            for (request, shape) in workload.requests("h", "k", false).iter().zip(&workload.shapes) {
                let body = &request.bytes[request.body_start..];
                assert_eq!(body.len(), shape.body_bytes);
                let json: serde_json::Value = serde_json::from_slice(body).unwrap();
                assert_eq!(json["stream"], request.frames.is_some());
            }
        }
    }

    #[test]
    fn unknown_workload_runs_something() {
        assert!(Workload::named("unarry", 1).unwrap_err().contains("upload64k"));
    }
}
