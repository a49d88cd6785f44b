//! Named workloads: what is sent, and what must come back.

use std::fmt::Write as _;

use super::hostile;

/// Model that most requests name.
const MODEL: &str = "claude-sonnet-4-6";
/// Model of the fleet's small helper requests.
const HELPER_MODEL: &str = "claude-haiku-4-5-20251001";
/// All models that workloads name: what a gateway must serve.
pub const MODELS: [&str; 2] = [MODEL, HELPER_MODEL];
/// Turns of a fleet's session, from its first prompt to the one before compaction.
const FLEET_TURNS: usize = 48;
/// A session's first prompt, its median one, and where it is compacted. Bytes.
const FLEET_BYTES: (f64, f64, f64) = (20e3, 80e3, 1e6);
/// Of the fleet's streams, the share that its developers break off.
const FLEET_ABORTS: f64 = 0.02;

/// Every workload's name and what it is.
pub const WORKLOADS: &[(&str, &str)] = &[
    ("fleet", "what a fleet of Claude Code sends: sessions that grow to 1 MB, mixed streams, 2 % broken off"),
    ("tiny", "300 bytes up, 200 bytes of JSON down"),
    ("unary", "2 KB up, 2 KB of JSON down"),
    ("upload64k", "64 KiB up, 2 KB of JSON down"),
    ("upload256k", "256 KiB up, 2 KB of JSON down"),
    ("uploads", "1 MiB up, 2 KB of JSON down"),
    ("sse", "2 KB up, a stream of 50 deltas back to back"),
    ("paced", "2 KB up, a stream of 50 deltas 2 ms apart, 500 connections"),
    ("connect", "a new connection for each request of 2 KB up, 2 KB of JSON down"),
    ("tls-unary", "unary over TLS, on kept connections"),
    ("tls-paced", "paced over TLS, on kept connections"),
    ("tls-connect", "connect over TLS: a full handshake for each request, no session is resumed"),
    ("long", "80 KB up, a stream of 400 deltas 10 ms apart with thinking, 200 connections"),
    ("abort", "paced streams that the client leaves at a random event"),
    ("idle", "streams that are open and say nothing; see --idle-streams for what they cost"),
    ("hostile", "requests that must be refused, among good ones"),
];

/// A workload ready to run.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Connections, unless the command line says.
    pub connections: usize,
    /// The share of streams that clients leave early, 0 to 1.
    pub aborts: f64,
    /// Each connection walks through the requests from its own place, as the turns of a session, instead of taking whichever
    /// is next.
    pub sessions: bool,
    /// Each request has a connection of its own.
    pub reconnects: bool,
    /// It is meant for targets with TLS.
    pub tls: bool,
    /// Events say when they were sent, so that their delay can be measured.
    pub stamped: bool,
    shapes: Vec<Shape>,
    hostile: bool,
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

/// What must come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// 200 with JSON.
    Json,
    /// 200 with at least so many SSE frames, `message_stop` the last.
    Frames(u64),
    /// A status of the client's own fault, or the end of the connection.
    Refusal,
}

/// One request as bytes, and what its answer must be.
#[derive(Debug)]
pub struct Request {
    /// Its head; the session's number stands at `session_at`.
    pub head: Vec<u8>,
    /// Its body.
    pub body: Vec<u8>,
    /// Where in the head the session's number stands: [`SESSION_DIGITS`] hexadecimal digits.
    pub session_at: Option<usize>,
    /// What must come back.
    pub expect: Expect,
}

/// Digits of a session's number.
pub const SESSION_DIGITS: usize = 12;

impl Request {
    /// The head as one session sends it.
    pub fn head_of(&self, session: u64) -> Vec<u8> {
        let mut head = self.head.clone();
        if let Some(place) = self.session_at.and_then(|at| head.get_mut(at..at + SESSION_DIGITS)) {
            place.copy_from_slice(format!("{:012x}", session & 0xffff_ffff_ffff).as_bytes());
        }
        head
    }
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
            "fleet" => (200, FLEET_ABORTS, fleet(seed)),
            "tiny" => (64, 0.0, vec![shape(MODEL, 300, None, "body_bytes=200")]),
            "unary" | "tls-unary" => (64, 0.0, vec![unary(2048)]),
            "connect" | "tls-connect" => (16, 0.0, vec![unary(2048)]),
            "upload64k" => (32, 0.0, vec![unary(64 << 10)]),
            "upload256k" => (16, 0.0, vec![unary(256 << 10)]),
            "uploads" => (8, 0.0, vec![unary(1 << 20)]),
            "sse" => (64, 0.0, vec![stream(50, "")]),
            "paced" | "tls-paced" => (500, 0.0, vec![stream(50, "gap_ms=2")]),
            "long" => (200, 0.0, vec![shape(MODEL, 80_000, Some(400), "gap_ms=10 thinking=1")]),
            "abort" => (100, 0.7, vec![stream(100, "gap_ms=2")]),
            "idle" => (1000, 0.0, vec![stream(2, "gap_ms=3000")]),
            "hostile" => (32, 0.0, vec![unary(2048), stream(20, "")]),
            _ => {
                let names: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown workload `{name}`; known: {}", names.join(", ")));
            }
        };
        let name = WORKLOADS.iter().find(|(known, _)| *known == name).map_or("", |(known, _)| known);
        Ok(Workload {
            connections,
            aborts,
            sessions: name == "fleet",
            reconnects: name.ends_with("connect"),
            tls: name.starts_with("tls-"),
            hostile: name == "hostile",
            ..Workload::of(name, shapes)
        })
    }

    fn of(name: &'static str, shapes: Vec<Shape>) -> Workload {
        Workload {
            name,
            connections: 1,
            aborts: 0.0,
            sessions: false,
            reconnects: false,
            tls: false,
            stamped: false,
            shapes,
            hostile: false,
        }
    }

    /// Streams of which each stays open for so long: to count what an open stream costs.
    pub fn held_open(streams: usize, millis: u64) -> Workload {
        let shapes = vec![shape(MODEL, 2048, Some(2), &format!("gap_ms={millis}"))];
        Workload { connections: streams, ..Workload::of("idle", shapes) }
    }

    /// Streams of events so far apart; each stream lasts about so long.
    pub fn spread(streams: usize, gap_millis: u64, life_millis: u64) -> Workload {
        let deltas = (life_millis / gap_millis.max(1)).clamp(1, 1_000_000) as u32;
        let shapes = vec![shape(MODEL, 2048, Some(deltas), &format!("gap_ms={gap_millis}"))];
        Workload { connections: streams, ..Workload::of("paced", shapes) }
    }

    /// The same, of events that say when they were sent.
    pub fn stamped(streams: usize, gap_millis: u64, life_millis: u64) -> Workload {
        let mut workload = Workload::spread(streams, gap_millis, life_millis);
        workload.shapes.iter_mut().for_each(|shape| shape.script.push_str(" stamp=1"));
        Workload { stamped: true, ..workload }
    }

    /// The requests to send in turn. Lean ones spare the provider all that only `verify` needs.
    pub fn requests(&self, host: &str, key: &str, lean: bool) -> Vec<Request> {
        let good = self.shapes.iter().enumerate().map(|(index, shape)| shape.request(index, host, key, lean));
        let bad = self.hostile.then(|| hostile::requests(host, key)).into_iter().flatten();
        good.chain(bad).collect()
    }
}

fn shape(model: &'static str, body_bytes: usize, deltas: Option<u32>, rest: &str) -> Shape {
    let events = deltas.map(|deltas| format!("events={deltas} ")).unwrap_or_default();
    Shape { model, body_bytes, deltas, script: format!("{events}{rest}") }
}

/// The turns of a session: prompts that grow from turn to turn, half of them below 80 KB and the last ones around 1 MB,
/// answered by streams of up to a few hundred deltas with pauses for thought; every eighth a small helper request.
fn fleet(seed: u64) -> Vec<Shape> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (first, middle, last) = FLEET_BYTES;
    let mut turn = |index: usize| {
        if index % 8 == 7 {
            return shape(HELPER_MODEL, random.usize(1500..6000), None, "body_bytes=900");
        }
        let progress = index as f64 / (FLEET_TURNS - 1) as f64;
        let grown = if progress < 0.5 {
            first * (middle / first).powf(progress * 2.0)
        } else {
            middle * (last / middle).powf(progress * 2.0 - 1.0)
        };
        let body_bytes = grown as usize;
        let deltas = random.u32(30..300);
        // Four bytes make a token; all but the newest turn is read from the provider's prompt cache.
        let cache_read = body_bytes / 5;
        let think = if index.is_multiple_of(3) { " thinking=1 first_ms=400" } else { "" };
        let rest = format!("gap_ms=10 event_bytes={} cache_read={cache_read} cache_5m=400{think}", random.usize(8..60));
        shape(MODEL, body_bytes, Some(deltas), &rest)
    };
    (0..FLEET_TURNS).map(&mut turn).collect()
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
        let marker = "7b8f2c1e-0d3a-4f5b-9c6d-";
        let session_at = head.find(marker).map(|at| at + marker.len());
        // message_start, block start, ping, block stop, message_delta and message_stop surround the deltas.
        let expect = self.deltas.map_or(Expect::Json, |deltas| Expect::Frames(u64::from(deltas) + 6));
        Request { head: head.into_bytes(), body, session_at, expect }
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
        for (name, _) in WORKLOADS.iter().copied() {
            let workload = Workload::named(name, 1).unwrap();
            for (request, shape) in workload.requests("h", "k", false).iter().zip(&workload.shapes) {
                assert_eq!(request.body.len(), shape.body_bytes);
                let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(json["stream"], matches!(request.expect, Expect::Frames(_)));
            }
        }
    }

    #[test]
    fn a_session_is_sent_under_the_name_of_another() {
        let workload = Workload::named("fleet", 1).unwrap();
        for request in workload.requests("h", "k", false) {
            let head = String::from_utf8(request.head_of(0xabc)).unwrap();
            assert!(head.contains("X-Claude-Code-Session-Id: 7b8f2c1e-0d3a-4f5b-9c6d-000000000abc\r\n"), "{head}");
        }
    }

    #[test]
    fn a_fleets_prompts_are_small_or_do_not_grow() {
        let sizes: Vec<usize> = fleet(3).iter().filter(|s| s.model == MODEL).map(|s| s.body_bytes).collect();
        assert!(sizes.is_sorted() && *sizes.last().unwrap() > 800_000);
        let median = sizes[sizes.len() / 2];
        assert!((60_000..120_000).contains(&median), "{median}");
    }

    #[test]
    fn a_workload_stands_in_no_document() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        for (name, _) in WORKLOADS {
            assert!(readme.contains(&format!("`{name}`")), "README.md does not tell of {name}");
        }
    }

    #[test]
    fn unknown_workload_runs_something() {
        assert!(Workload::named("unarry", 1).unwrap_err().contains("upload64k"));
    }
}
