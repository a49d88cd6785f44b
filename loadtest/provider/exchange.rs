//! One connection's exchanges: reads a request, has it answered, writes it into the books.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::kernel::record::Format;
use aws_lc_rs::digest;
use tokio::net::TcpStream;

use super::State;
use super::answer;
use super::ask::{fingerprint, hex};
use super::books::{BilledUsage, Entry, Outcome};
use super::clock;
use super::conn::Conn;
use super::http::{self, BodyFraming, Head, ReadError};
use super::issuer;
use super::script::{Script, ScriptError};

/// Largest body buffer a connection keeps between requests.
const BODY_BYTES_KEPT: usize = 1 << 20;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

/// What happened in one exchange, for the books.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) model: String,
    /// Whether this is one of the model's billable requests.
    pub(super) billable: bool,
    pub(super) stream: bool,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) usage: BilledUsage,
    pub(super) response: (Option<digest::Digest>, u64),
}

/// One exchange under way.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    pub(super) state: &'a State,
    pub(super) head: &'a Head,
    pub(super) number: u64,
    /// The format of the path, in which all of it is answered.
    pub(super) format: Format,
    pub(super) request_id: String,
    pub(super) report: Report,
    /// Whether digests and an entry are wanted.
    pub(super) full: bool,
    framing: BodyFraming,
    request_sha256: Option<digest::Digest>,
    started_unix_ms: u64,
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, state: Arc<State>) {
    state.ledger.connected();
    let mut conn = Conn::new(stream);
    match exchanges(&mut conn, &state).await {
        After::Reset => conn.reset().await,
        After::KeepAlive | After::Close => conn.close().await,
    }
    state.ledger.disconnected();
}

async fn exchanges(conn: &mut Conn, state: &State) -> After {
    let (mut head, mut body) = (Head::default(), Vec::new());
    loop {
        match head.read(conn).await {
            Ok(()) => {}
            Err(ReadError::Gone) => return After::Close,
            Err(error) => return answer::refuse_unread(conn, state, error).await,
        }
        let after = if issuer::is_apart(&head) {
            answer::sim(conn, &head, &mut body, state).await
        } else {
            exchange(conn, &head, &mut body, state).await
        };
        if after != After::KeepAlive {
            return after;
        }
        if body.capacity() > BODY_BYTES_KEPT {
            body = Vec::new();
        }
    }
}

async fn exchange(conn: &mut Conn, head: &Head, body: &mut Vec<u8>, state: &State) -> After {
    state.ledger.begin();
    let mut exchange = Exchange::new(state, head);
    body.clear();
    let after = exchange.walk(conn, body).await;
    exchange.settle(body);
    after
}

impl<'a> Exchange<'a> {
    fn new(state: &'a State, head: &'a Head) -> Exchange<'a> {
        let number = state.requests.fetch_add(1, Ordering::Relaxed);
        Exchange {
            state,
            head,
            number,
            format: Format::Anthropic,
            request_id: id("req_01", state.options.seed, number, 0),
            report: Report {
                model: String::new(),
                billable: false,
                stream: false,
                status: 0,
                outcome: Outcome::Completed,
                usage: BilledUsage::default(),
                response: (None, 0),
            },
            full: state.ledger.keeps_entries(),
            framing: BodyFraming::None,
            request_sha256: None,
            started_unix_ms: clock::unix_ms(),
        }
    }

    async fn walk(&mut self, conn: &mut Conn, body: &mut Vec<u8>) -> After {
        let scripted = self.state.standing.script(self.head);
        if let Some(Ok(script)) = &scripted {
            self.full &= !script.content.lean;
            if script.status.early || script.status.early_close {
                return self.early(conn, script, body).await;
            }
        }
        if let Err(error) = self.receive(conn, body).await {
            return self.refuse_unread(conn, error).await;
        }
        let scripted = scripted.unwrap_or_else(|| self.state.standing.script_in_body(body));
        self.digest(body, scripted.as_ref());
        self.respond(conn, scripted, body).await
    }

    /// Reads the body, after an interim answer if the client waits for one.
    pub(super) async fn receive(&mut self, conn: &mut Conn, body: &mut Vec<u8>) -> Result<(), ReadError> {
        self.framing = self.head.framing()?;
        let waits = self.framing != BodyFraming::None && self.head.expects_continue() && conn.unread().is_empty();
        if waits {
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        http::read_body(conn, self.framing, body).await
    }

    fn digest(&mut self, body: &[u8], script: Result<&Script, &ScriptError>) {
        self.full &= !script.is_ok_and(|script| script.content.lean);
        if self.full {
            self.request_sha256 = Some(digest::digest(&digest::SHA256, body));
        }
    }

    /// SHA-256 of the request body; empty for a lean request.
    pub(super) fn request_sha256(&self) -> &[u8] {
        self.request_sha256.as_ref().map_or(&[], AsRef::as_ref)
    }

    /// A fresh id in Anthropic's form.
    pub(super) fn id(&self, prefix: &str, salt: u64) -> String {
        id(prefix, self.state.options.seed, self.number, salt)
    }

    /// The credential, wherever the client put it.
    pub(super) fn credential(&self) -> Option<&'a [u8]> {
        let bearer = |value: &'a [u8]| {
            let (scheme, rest) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
        };
        self.head.get("x-api-key").or_else(|| self.head.get("authorization").and_then(bearer))
    }

    fn settle(&mut self, body: &mut Vec<u8>) {
        let report = &self.report;
        let entry = self.full.then(|| self.entry(body));
        let model = if report.billable { report.model.as_str() } else { "" };
        self.state.ledger.settle(model, report.status, report.outcome, &report.usage, entry);
    }

    fn entry(&self, body: &mut Vec<u8>) -> Entry {
        let (report, head) = (&self.report, self.head);
        // An early answer never hashed the body; whatever was received counts.
        let sha256 = match self.request_sha256() {
            [] => hex(digest::digest(&digest::SHA256, body).as_ref()),
            sha256 => hex(sha256),
        };
        Entry {
            index: 0,
            request_id: self.request_id.clone(),
            method: head.method().to_owned(),
            path: head.target().to_owned(),
            model: report.model.clone(),
            stream: report.stream,
            credential_fingerprint: self.credential().map(fingerprint).unwrap_or_default(),
            request_framing: self.framing.label(),
            request_sha256: sha256,
            request_bytes: body.len() as u64,
            response_sha256: report.response.0.as_ref().map(|sum| hex(sum.as_ref())).unwrap_or_default(),
            response_bytes: report.response.1,
            status: report.status,
            outcome: report.outcome,
            usage: report.usage,
            header_names: head.fields().map(|(name, _)| name.to_owned()).collect(),
            headers: shown_headers(head),
            started_unix_ms: self.started_unix_ms,
            ended_unix_ms: clock::unix_ms(),
            request_body: self.state.options.keep_bodies.then(|| std::mem::take(body)),
        }
    }
}

/// Header values without those that are credentials.
fn shown_headers(head: &Head) -> BTreeMap<String, String> {
    const SECRET: [&str; 7] = [
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "x-amz-security-token",
        "x-goog-api-key",
    ];
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in head.fields() {
        let name = name.to_ascii_lowercase();
        if SECRET.contains(&name.as_str()) {
            continue;
        }
        let value = String::from_utf8_lossy(value);
        shown.entry(name).and_modify(|all| *all = format!("{all}, {value}")).or_insert_with(|| value.into_owned());
    }
    shown
}

/// `prefix` and 22 letters and digits, different for each number and salt.
fn id(prefix: &str, seed: u64, number: u64, salt: u64) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut out = String::with_capacity(prefix.len() + 22);
    out.push_str(prefix);
    // The number itself fills the first eleven places, scrambled by an odd factor, which keeps it unique.
    let scrambled = (number ^ (salt << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
    let mut random = fastrand::Rng::with_seed(scrambled);
    for mut part in [scrambled, random.u64(..)] {
        for _ in 0..11 {
            out.push(char::from(ALPHABET[(part % 58) as usize]));
            part /= 58;
        }
    }
    out
}
