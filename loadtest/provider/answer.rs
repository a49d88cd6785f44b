//! Routes one request and sends its answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::kernel::record::Format;

use super::State;
use super::ask::Ask;
use super::books::Outcome;
use super::cloud;
use super::conn::{Conn, Gone};
use super::exchange::{After, Exchange};
use super::http::{self, Head, ReadError};
use super::issuer;
use super::message::{Message, input_tokens, quoted};
use super::plan::Plan;
use super::proof::Refusal;
use super::refusal;
use super::reply::{self, BodyLength, ReplyHead};
use super::script::{AfterWhole, ChunkMode, Cut, Fail, Script, ScriptError};
use super::stream::{Ended, Stream};
use super::writer::Writer;

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// Models that `GET /v1/models` lists: id and display name.
const MODELS: [(&str, &str); 4] = [
    ("claude-opus-5-5", "Claude Opus 5.5"),
    ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
];

/// Model that an early answer claims, as the request body is not known yet.
const EARLY_MODEL: &str = "claude-sonnet-4-6";

/// An answer in JSON, ready to go.
#[derive(Debug)]
pub(super) struct JsonReply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) extra: String,
    pub(super) ratelimits: bool,
    pub(super) close: bool,
}

impl JsonReply {
    pub(super) fn ok(body: Vec<u8>) -> JsonReply {
        JsonReply { status: 200, body, extra: String::new(), ratelimits: false, close: false }
    }
}

impl Exchange<'_> {
    /// Answers a request whose body has been read.
    pub(super) async fn respond(
        &mut self,
        conn: &mut Conn,
        scripted: Result<Script, ScriptError>,
        body: &[u8],
    ) -> After {
        let cloud = cloud::parse(self.head.target().split('?').next().unwrap_or_default());
        self.format = cloud.as_ref().map_or(Format::Anthropic, |cloud| cloud.format);
        let script = match scripted {
            Ok(script) => script,
            Err(error) => return self.refuse(conn, 400, &format!("anthropic-sim: {error}")).await,
        };
        if let Err(refusal) = self.state.proof.check(self.head, body) {
            return self.refuse_proof(conn, refusal).await;
        }
        let path = self.head.target().split('?').next().unwrap_or_default();
        if let Some(cloud) = cloud.filter(|_| self.head.method() == "POST") {
            return self.cloud(conn, script, body, &cloud).await;
        }
        // Foundry and Bedrock have the first-party surface below a path of their own.
        let path = path.strip_prefix("/anthropic").unwrap_or(path);
        match (self.head.method(), path) {
            ("POST", "/v1/messages") => self.messages(conn, script, body).await,
            ("POST", "/v1/messages/count_tokens") => self.count_tokens(conn, &script, body).await,
            ("GET", "/v1/models") => {
                let reply = JsonReply::ok(models_json());
                self.json(conn, &script, reply).await
            }
            ("GET", path) if path.starts_with("/v1/models/") => self.model(conn, &script, &path[11..]).await,
            ("HEAD", path) => self.head_only(conn, if matches!(path, "/" | "/api/hello") { 200 } else { 404 }).await,
            (_, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
                self.refuse(conn, 405, "Method Not Allowed").await
            }
            _ => self.kept(conn, &script, path, body).await,
        }
    }

    async fn refuse_proof(&mut self, conn: &mut Conn, refusal: Refusal) -> After {
        let Some(body) = refusal.body else { return self.refuse(conn, refusal.status, refusal.message).await };
        let reply = JsonReply { status: refusal.status, body, extra: refusal.lines, ratelimits: false, close: false };
        self.json(conn, &Script::default(), reply).await
    }

    pub(super) fn ask(&mut self, script: &Script, body: &[u8], counting: bool) -> Result<Ask, String> {
        if script.content.lean {
            let ask = Ask::glance(body);
            self.report.model.clone_from(&ask.model);
            self.report.stream = ask.stream;
            return Ok(ask);
        }
        let ask = Ask::parse(body, counting, self.request_sha256())?;
        self.report.model.clone_from(&ask.model);
        self.report.stream = ask.stream;
        if self.head.get("anthropic-version").is_none() {
            return Err("anthropic-version: header is required".to_owned());
        }
        Ok(ask)
    }

    async fn count_tokens(&mut self, conn: &mut Conn, script: &Script, body: &[u8]) -> After {
        match self.ask(script, body, true) {
            Ok(ask) => {
                let tokens = script.usage.input_tokens.unwrap_or_else(|| input_tokens(ask.body_bytes));
                let reply = JsonReply::ok(format!(r#"{{"input_tokens":{tokens}}}"#).into_bytes());
                self.json(conn, script, reply).await
            }
            Err(message) => self.refuse(conn, 400, &message).await,
        }
    }

    async fn model(&mut self, conn: &mut Conn, script: &Script, id: &str) -> After {
        match MODELS.iter().find(|(known, _)| *known == id) {
            Some(model) => self.json(conn, script, JsonReply::ok(model_json(model).into_bytes())).await,
            None => self.refuse(conn, 404, &format!("model: {id}")).await,
        }
    }

    /// Answers a question for a message that was understood.
    pub(super) async fn asked(&mut self, conn: &mut Conn, mut script: Script, ask: Ask) -> After {
        self.draw_failure(&mut script, ask.stream);
        if script.fault.reset_before {
            self.report.outcome = Outcome::Faulted;
            return After::Reset;
        }
        if script.fault.silent {
            conn.watch().await;
            return self.gone();
        }
        if let Err(Gone) = self.before_head(conn, &script).await {
            return self.gone();
        }
        match refusal::status(&script) {
            Some(status) => self.scripted_error(conn, &script, status).await,
            None => self.message(conn, &script, &ask).await,
        }
    }

    /// Turns the dice of `p_fail` into a plain fault.
    fn draw_failure(&self, script: &mut Script, stream: bool) {
        let mut random = fastrand::Rng::with_seed(self.state.options.seed ^ (self.number << 20) ^ 0x5eed);
        if script.fault.p_fail == 0.0 || random.f64() >= script.fault.p_fail {
            return;
        }
        match (script.fault.fail.unwrap_or(Fail::Reset), stream) {
            (Fail::Reset, true) => script.fault.cut = Some((Cut::Reset, 2)),
            (Fail::Reset, false) => script.fault.reset_before = true,
            (Fail::Overloaded, _) => script.status.status = Some(529),
            (Fail::Close, _) => script.fault.cut = Some((Cut::Close, 2)),
            (Fail::Error, true) => script.fault.cut = Some((Cut::Error, 2)),
            (Fail::Error, false) => script.status.status = Some(500),
        }
    }

    async fn before_head(&mut self, conn: &mut Conn, script: &Script) -> Result<(), Gone> {
        if let Some(status) = script.status.hundred {
            conn.send(&reply::informational(status)).await?;
        }
        if script.content.first_ms > 0 {
            conn.watch_until(Instant::now() + Duration::from_millis(script.content.first_ms)).await?;
        }
        Ok(())
    }

    /// Answers before the body is read; then reads it, or closes on it.
    pub(super) async fn early(&mut self, conn: &mut Conn, script: &Script, body: &mut Vec<u8>) -> After {
        if let Err(error) = self.head.framing() {
            return self.refuse_unread(conn, error).await;
        }
        let model = script.content.model.clone().unwrap_or_else(|| EARLY_MODEL.to_owned());
        let ask = Ask { model, stream: script.content.stream, ..Ask::default() };
        let after = match script.status.status.unwrap_or(429) {
            200 => {
                self.report.billable = true;
                self.report.model.clone_from(&ask.model);
                self.message(conn, script, &ask).await
            }
            status => self.scripted_error(conn, script, status).await,
        };
        // A client that waited for leave to send its body has its answer instead, and the body may never come.
        let waits = self.head.expects_continue() && conn.unread().is_empty();
        if script.status.early_close || waits || after != After::KeepAlive {
            return After::Close;
        }
        let (status, outcome) = (self.report.status, self.report.outcome);
        match self.receive(conn, body).await {
            Ok(()) => After::KeepAlive,
            Err(_) => {
                self.report.status = status;
                self.report.outcome = if outcome == Outcome::Completed { Outcome::ClientGone } else { outcome };
                After::Close
            }
        }
    }

    fn gone(&mut self) -> After {
        self.report.outcome = Outcome::ClientGone;
        After::Close
    }

    async fn message(&mut self, conn: &mut Conn, script: &Script, ask: &Ask) -> After {
        let mut usage = script.usage.clone();
        if script.content.caches {
            let prompt = usage.input_tokens.unwrap_or_else(|| input_tokens(ask.body_bytes));
            self.state.standing.cached(self.head, &ask.model, prompt, &mut usage);
        }
        let (id, tool_id) = (self.id("msg_01", 1), self.id("toolu_01", 2));
        let mut message = Message::new(ask, &script.content, &usage, id, tool_id);
        message.container = self.keeps_running(ask, &message.id);
        if ask.stream {
            return self.sse(conn, script, &message).await;
        }
        self.report.usage = message.usage;
        let body = message.json(&self.state.corpus, &script.content);
        let close = script.status.early_close;
        let extra = if self.format == Format::Bedrock { cloud::count_lines(&message) } else { String::new() };
        self.json(conn, script, JsonReply { status: 200, body, extra, ratelimits: true, close }).await
    }

    async fn sse(&mut self, conn: &mut Conn, script: &Script, message: &Message) -> After {
        let plan = Plan::new(message, &script.content, &self.state.rings, &self.state.corpus);
        let chunks = if script.framing.length || script.framing.until_close {
            None
        } else {
            Some(script.framing.chunk.unwrap_or_default())
        };
        let body = match chunks {
            Some(_) => BodyLength::Chunked,
            None if script.framing.length && self.format == Format::Bedrock => {
                BodyLength::Known(plan.frames_bytes(message))
            }
            None if script.framing.length => BodyLength::Known(plan.payload_bytes()),
            None => BodyLength::UntilClose,
        };
        let close = self.closes(script);
        let gzip = self.gzips(script);
        let head = ReplyHead {
            status: 200,
            format: self.format,
            request_id: &self.request_id,
            content_type: if self.format == Format::Bedrock { FRAMES } else { SSE },
            body,
            close,
            gzip,
            trailers: script.framing.trailers && chunks.is_some(),
            ratelimits: true,
            extra: "",
        }
        .write();
        self.report.status = 200;
        let mut writer = Writer::new(conn, &script.framing, self.full, self.number);
        writer.head(&head, chunks, gzip);
        let frames_of = (self.format == Format::Bedrock).then_some(message);
        let mut stream = Stream {
            writer: &mut writer,
            plan: &plan,
            script,
            request_id: &self.request_id,
            deltas_sent: 0,
            frames_of,
        };
        let ended = stream.run().await;
        let sent = stream.deltas_sent;
        self.report.usage = if ended == Ended::Whole { message.usage } else { message.usage_after(sent, plan.deltas) };
        self.report.response = writer.sums();
        self.conclude(ended, close, script.fault.after)
    }

    fn conclude(&mut self, ended: Ended, close: bool, broken: Option<AfterWhole>) -> After {
        self.report.outcome = match ended {
            Ended::Whole => Outcome::Completed,
            Ended::Gone => Outcome::ClientGone,
            Ended::Error | Ended::Reset | Ended::Close => Outcome::Faulted,
        };
        match (ended, broken) {
            (Ended::Reset, _) | (Ended::Whole, Some(AfterWhole::Reset)) => After::Reset,
            (Ended::Whole, Some(AfterWhole::Close)) => After::Close,
            (Ended::Whole | Ended::Error, _) if !close => After::KeepAlive,
            _ => After::Close,
        }
    }

    fn closes(&self, script: &Script) -> bool {
        script.framing.until_close || !self.head.keeps_alive()
    }

    fn gzips(&self, script: &Script) -> bool {
        let accepts = || self.head.text("accept-encoding").is_some_and(accepts_gzip);
        script.framing.gzip && accepts()
    }

    pub(super) async fn json(&mut self, conn: &mut Conn, script: &Script, reply: JsonReply) -> After {
        let close = reply.close || self.closes(script);
        let gzip = self.gzips(script);
        let chunks = script.framing.chunk.or((gzip || script.framing.trailers).then_some(ChunkMode::Event));
        let body = match chunks {
            _ if script.framing.until_close => BodyLength::UntilClose,
            Some(_) => BodyLength::Chunked,
            None => BodyLength::Known(reply.body.len()),
        };
        let chunks = chunks.filter(|_| body == BodyLength::Chunked);
        let head = ReplyHead {
            status: reply.status,
            format: self.format,
            request_id: &self.request_id,
            content_type: JSON,
            body,
            close,
            gzip,
            trailers: script.framing.trailers && chunks.is_some(),
            ratelimits: reply.ratelimits,
            extra: &reply.extra,
        }
        .write();
        self.report.status = reply.status;
        let mut writer = Writer::new(conn, &script.framing, self.full, self.number);
        writer.head(&head, chunks, gzip);
        let ended = send_json(&mut writer, &reply.body, script.fault.cut).await.unwrap_or(Ended::Gone);
        self.report.response = writer.sums();
        self.conclude(ended, close, script.fault.after)
    }

    async fn head_only(&mut self, conn: &mut Conn, status: u16) -> After {
        let close = !self.head.keeps_alive();
        let head = ReplyHead {
            status,
            format: self.format,
            request_id: &self.request_id,
            content_type: "",
            body: BodyLength::Known(0),
            close,
            gzip: false,
            trailers: false,
            ratelimits: false,
            extra: "",
        }
        .write();
        self.report.status = status;
        let ended = conn.send(&head).await.map_or(Ended::Gone, |()| Ended::Whole);
        self.conclude(ended, close, None)
    }

    /// An error of the provider's own finding, after the whole request was read.
    pub(super) async fn refuse(&mut self, conn: &mut Conn, status: u16, message: &str) -> After {
        if !self.state.options.quiet {
            eprintln!("provider: {status} {} {}: {message}", self.head.method(), self.head.target());
        }
        let (body, extra) = (self.error_body(status, message, None), self.error_lines(status));
        let reply = JsonReply { status, body, extra, ratelimits: false, close: false };
        self.json(conn, &Script::default(), reply).await
    }

    /// An error after which the connection's framing is lost.
    pub(super) async fn refuse_unread(&mut self, conn: &mut Conn, error: ReadError) -> After {
        let (status, message) = match error {
            ReadError::Gone => return self.gone(),
            ReadError::Bad(message) => (400, message),
            ReadError::TooLarge => (413, reply::default_message(413)),
        };
        if !self.state.options.quiet {
            eprintln!("provider: {status} {} {}: {message}", self.head.method(), self.head.target());
        }
        let body = reply::error_json(status, message, None, &self.request_id);
        let reply = JsonReply { status, body, extra: String::new(), ratelimits: false, close: true };
        self.json(conn, &Script::default(), reply).await
    }
}

async fn send_json(writer: &mut Writer<'_>, body: &[u8], cut: Option<(Cut, u32)>) -> Result<Ended, Gone> {
    let Some((cut, events)) = cut.filter(|(cut, _)| *cut != Cut::Error) else {
        writer.payload(body).await?;
        writer.finish().await?;
        return Ok(Ended::Whole);
    };
    writer.half(if events == 0 { b"" } else { body }).await?;
    match cut {
        Cut::Reset => Ok(Ended::Reset),
        Cut::Close => Ok(Ended::Close),
        Cut::Error | Cut::Stall | Cut::PingOnly => Err(writer.conn().watch().await),
    }
}

/// Answers a head that could not be read; it leaves no entry, for there is no request.
pub(super) async fn refuse_unread(conn: &mut Conn, state: &State, error: ReadError) -> After {
    let (ReadError::Bad(message), quiet) = (error, state.options.quiet) else { return After::Close };
    if !quiet {
        eprintln!("provider: 400: {message}");
    }
    let body = reply::error_json(400, message, None, "req_none");
    // The connection ends either way.
    let _ = plain(conn, 400, &body, "", true).await;
    After::Close
}

async fn plain(conn: &mut Conn, status: u16, body: &[u8], lines: &str, close: bool) -> Result<(), Gone> {
    let mut bytes = ReplyHead {
        status,
        format: Format::Anthropic,
        request_id: "req_none",
        content_type: JSON,
        body: BodyLength::Known(body.len()),
        close,
        gzip: false,
        trailers: false,
        ratelimits: false,
        extra: lines,
    }
    .write();
    bytes.extend_from_slice(body);
    conn.send(&bytes).await
}

/// Endpoints that stay out of the books: `/sim/books`, and those that issue credentials.
pub(super) async fn sim(conn: &mut Conn, head: &Head, body: &mut Vec<u8>, state: &State) -> After {
    let read = match head.framing() {
        Ok(framing) => http::read_body(conn, framing, body).await,
        Err(error) => Err(error),
    };
    if read.is_err() {
        return After::Close;
    }
    let close = !head.keeps_alive();
    if let Some((status, answer, lines)) = issuer::answer(head, body, state) {
        return match plain(conn, status, &answer, lines, close).await {
            Ok(()) if !close => After::KeepAlive,
            _ => After::Close,
        };
    }
    let (path, query) = head.target().split_once('?').unwrap_or((head.target(), ""));
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let (status, answer) = match (head.method(), path) {
        ("GET", "/sim/books") => match parameter("since").unwrap_or("0").parse() {
            Ok(_) if parameter("totals") == Some("1") => (200, serde_json::to_vec(&state.ledger.since(u64::MAX))),
            Ok(since) => (200, serde_json::to_vec(&state.ledger.since(since))),
            Err(_) => (400, Ok(br#"{"error":"since must be a number"}"#.to_vec())),
        },
        ("DELETE", "/sim/books") => {
            state.ledger.clear();
            (200, Ok(b"{}".to_vec()))
        }
        _ => (404, Ok(br#"{"error":"use GET or DELETE /sim/books"}"#.to_vec())),
    };
    let Ok(answer) = answer else { return After::Close };
    match plain(conn, status, &answer, "", close).await {
        Ok(()) if !close => After::KeepAlive,
        _ => After::Close,
    }
}

fn accepts_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        (name.trim().eq_ignore_ascii_case("gzip") || name.trim() == "*") && !refused
    })
}

fn model_json((id, name): &(&str, &str)) -> String {
    let (id, name) = (quoted(id), quoted(name));
    format!(
        r#"{{"type":"model","id":{id},"display_name":{name},"created_at":"2026-02-17T00:00:00Z","max_input_tokens":1000000,"max_tokens":64000}}"#
    )
}

fn models_json() -> Vec<u8> {
    let list: Vec<String> = MODELS.iter().map(model_json).collect();
    let (first, last) = (quoted(MODELS[0].0), quoted(MODELS[MODELS.len() - 1].0));
    format!(r#"{{"data":[{}],"has_more":false,"first_id":{first},"last_id":{last}}}"#, list.join(",")).into_bytes()
}
