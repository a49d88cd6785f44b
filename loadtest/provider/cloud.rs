//! The clouds' own APIs: Bedrock InvokeModel and Vertex rawPredict (contract.md §1.7, §4.4, §6.2). Only what differs from the
//! Anthropic API: paths, what a body must and must not say, frames instead of events, errors.

use crate::kernel::record::Format;
use crate::wire::eventstream;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::answer::JsonReply;
use super::ask::Ask;
use super::conn::Conn;
use super::exchange::{After, Exchange};
use super::message::{Message, input_tokens, quoted};
use super::reply;
use super::script::Script;

/// What a cloud's path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cloud {
    pub(super) format: Format,
    /// Named in the path, decoded; empty where tokens are only counted on Vertex.
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) counting: bool,
}

/// Reads a path, without its query.
pub(super) fn parse(path: &str) -> Option<Cloud> {
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        ["", "model", model, verb] => {
            let (stream, counting) = match verb {
                "invoke" => (false, false),
                "invoke-with-response-stream" => (true, false),
                "count-tokens" => (false, true),
                _ => return None,
            };
            Some(Cloud { format: Format::Bedrock, model: decoded(model), stream, counting })
        }
        ["", "v1", "projects", _, "locations", _, "publishers", "anthropic", "models", last] => {
            let last = decoded(last);
            let (model, method) = last.rsplit_once(':')?;
            let stream = match method {
                "rawPredict" => false,
                "streamRawPredict" => true,
                _ => return None,
            };
            let counting = model == "count-tokens";
            let model = if counting { String::new() } else { model.to_owned() };
            Some(Cloud { format: Format::Vertex, model, stream, counting })
        }
        _ => None,
    }
}

fn decoded(segment: &str) -> String {
    let mut out = Vec::new();
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let escape = tail.get(..2).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        match (byte, escape) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &tail[2..];
            }
            _ => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Cloud {
    /// Reads and checks a whole body as this cloud does.
    ///
    /// # Errors
    /// The message of its 400.
    pub(super) fn ask(&self, body: &[u8], sha256: &[u8]) -> Result<Ask, String> {
        let mut value: Value = serde_json::from_slice(body).map_err(|e| format!("Malformed input request: {e}"))?;
        if self.counting && self.format == Format::Bedrock {
            let inner = value.pointer("/input/invokeModel/body").and_then(Value::as_str).unwrap_or_default();
            let inner = STANDARD.decode(inner).map_err(|e| format!("input.invokeModel.body: {e}"))?;
            value = serde_json::from_slice(&inner).map_err(|e| format!("input.invokeModel.body: {e}"))?;
        }
        self.check(&value)?;
        let object = value.as_object_mut().ok_or("Malformed input request: not an object")?;
        if !self.model.is_empty() {
            object.insert("model".to_owned(), json!(self.model));
        }
        object.insert("stream".to_owned(), json!(self.stream));
        let mut ask = Ask::parse(value.to_string().as_bytes(), self.counting, sha256)?;
        ask.body_bytes = body.len() as u64;
        Ok(ask)
    }

    /// A `metadata.user_id` in JSON, which Bedrock's native Messages endpoint refuses, is let through: Claude Code's own Bedrock mode
    /// sends one to InvokeModel.
    fn check(&self, body: &Value) -> Result<(), String> {
        let forbidden: &[&str] = match self.format {
            Format::Bedrock => &[
                "model",
                "stream",
                "betas",
                "service_tier",
                "inference_geo",
                "speed",
                "container",
                "mcp_servers",
                "fallbacks",
                "cache_control",
                "thread",
                "tags",
                "diagnostics",
            ],
            _ if self.counting => &["betas", "tags"],
            _ => &[
                "model",
                "betas",
                "service_tier",
                "inference_geo",
                "container",
                "mcp_servers",
                "cache_control",
                "tags",
            ],
        };
        if let Some(name) = forbidden.iter().find(|name| body.get(**name).is_some()) {
            return Err(format!("{name}: Extra inputs are not permitted"));
        }
        let versions: &[&str] = match self.format {
            Format::Bedrock => &["bedrock-2023-05-31", "2026-10-21"],
            _ => &["vertex-2023-10-16", "2023-06-01", "2026-10-21"],
        };
        let version = body.get("anthropic_version").and_then(Value::as_str);
        if !version.is_some_and(|version| versions.contains(&version)) {
            return Err(format!("anthropic_version: must be one of {}", versions.join(", ")));
        }
        if self.format != Format::Bedrock {
            return Ok(());
        }
        if body.pointer("/output_config/format").is_some() {
            return Err("output_config.format: Extra inputs are not permitted".to_owned());
        }
        let betas = body.get("anthropic_beta");
        if betas.is_some_and(|b| !b.as_array().is_some_and(|list| list.iter().all(Value::is_string))) {
            return Err("anthropic_beta: must be a list of strings".to_owned());
        }
        Ok(())
    }
}

impl Exchange<'_> {
    /// Answers on a path of Bedrock or Vertex.
    pub(super) async fn cloud(&mut self, conn: &mut Conn, script: Script, body: &[u8], cloud: &Cloud) -> After {
        self.report.billable = !cloud.counting;
        let ask = match cloud.ask(body, self.request_sha256()) {
            Ok(ask) => ask,
            Err(message) => return self.refuse(conn, 400, &message).await,
        };
        self.report.model.clone_from(&ask.model);
        self.report.stream = ask.stream;
        if !cloud.counting {
            return self.asked(conn, script, ask).await;
        }
        let tokens = script.usage.input_tokens.unwrap_or_else(|| input_tokens(ask.body_bytes));
        let name = if cloud.format == Format::Bedrock { "inputTokens" } else { "input_tokens" };
        self.json(conn, &script, JsonReply::ok(format!(r#"{{"{name}":{tokens}}}"#).into_bytes())).await
    }

    pub(super) fn error_body(&self, status: u16, message: &str, code: Option<&str>) -> Vec<u8> {
        match self.format {
            Format::Bedrock => error_json(message),
            _ => reply::error_json(status, message, code, &self.request_id),
        }
    }

    pub(super) fn error_lines(&self, status: u16) -> String {
        match self.format {
            Format::Bedrock => format!("x-amzn-ErrorType: {}\r\n", exception(status)),
            _ => String::new(),
        }
    }
}

/// The name of the exception that goes with a status.
pub(super) fn exception(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500..=599 => "InternalServerException",
        _ => "ValidationException",
    }
}

/// An error body of Bedrock.
pub(super) fn error_json(message: &str) -> Vec<u8> {
    format!(r#"{{"message":{}}}"#, quoted(message)).into_bytes()
}

/// The frames of what would be events of an SSE stream. Pings and comments have no frame.
pub(super) fn frames(events: &[u8], message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.len() * 2);
    for line in events.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(data) = line.strip_prefix(b"data: ").filter(|data| *data != br#"{"type": "ping"}"#) else { continue };
        let metrics;
        let data = if data == br#"{"type":"message_stop"}"# {
            metrics = stop(message);
            metrics.as_bytes()
        } else {
            data
        };
        // The padding hides lengths, as Bedrock's does.
        let padding = &"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[..data.len() % 62];
        let payload = format!(r#"{{"bytes":"{}","p":"{padding}"}}"#, STANDARD.encode(data));
        let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
        eventstream::encode(&mut out, &headers, payload.as_bytes());
    }
    out
}

/// What Bedrock counts besides: input, output, read from the cache, written to it.
fn counts(message: &Message) -> [u64; 4] {
    let usage = &message.usage;
    let output = usage.output + u64::from(message.miscounts);
    [usage.input, output, usage.cache_read, usage.cache_write_5m + usage.cache_write_1h]
}

fn stop(message: &Message) -> String {
    let [input, output, read, written] = counts(message);
    format!(
        r#"{{"type":"message_stop","amazon-bedrock-invocationMetrics":{{"inputTokenCount":{input},"outputTokenCount":{output},"invocationLatency":812,"firstByteLatency":301,"cacheReadInputTokenCount":{read},"cacheWriteInputTokenCount":{written}}}}}"#
    )
}

/// The header lines of an answer that is not streamed.
pub(super) fn count_lines(message: &Message) -> String {
    let [input, output, read, written] = counts(message);
    format!(
        "X-Amzn-Bedrock-Invocation-Latency: 812\r\nX-Amzn-Bedrock-Input-Token-Count: {input}\r\n\
         X-Amzn-Bedrock-Output-Token-Count: {output}\r\nX-Amzn-Bedrock-Cache-Read-Input-Token-Count: {read}\r\n\
         X-Amzn-Bedrock-Cache-Write-Input-Token-Count: {written}\r\n"
    )
}
