//! The message of one answer: identity, usage, and its JSON and SSE forms (contract.md §4.1, §4.2).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::ask::Ask;
use super::books::BilledUsage;
use super::script::{ContentScript, UsageScript};
use super::text::Corpus;

/// Output tokens that `message_start` reports.
const OUTPUT_AT_START: u64 = 1;

/// Everything an answer says, in either form.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) model: String,
    /// What a complete answer is billed.
    pub(super) usage: BilledUsage,
    pub(super) stop_reason: String,
    pub(super) thinking: bool,
    /// Id and name of the tool to be called.
    pub(super) tool: Option<(String, String)>,
    /// What it is called with.
    pub(super) tool_input: Cow<'static, str>,
    pub(super) mark: u64,
    /// What Bedrock counts a second time comes to more.
    pub(super) miscounts: bool,
    /// The container it ran in.
    pub(super) container: Option<String>,
    service: String,
}

impl Message {
    pub(super) fn new(ask: &Ask, content: &ContentScript, usage: &UsageScript, id: String, tool_id: String) -> Message {
        let tool = match (&content.tool, &ask.first_tool) {
            (Some(name), Some(first)) if name == "auto" => Some((tool_id, first.clone())),
            (Some(name), Some(_)) => Some((tool_id, name.clone())),
            _ => None,
        };
        let text_bytes =
            content.body_bytes.filter(|_| !ask.stream).unwrap_or(content.events as usize * content.event_bytes) as u64;
        let natural = text_bytes.div_ceil(4).max(1);
        let allowed = natural.min(ask.max_tokens.unwrap_or(u64::MAX));
        let natural_stop = match &tool {
            _ if allowed < natural && usage.output_tokens.is_none() => "max_tokens",
            Some(_) => "tool_use",
            None => "end_turn",
        };
        Message {
            id,
            model: content.model.clone().unwrap_or_else(|| ask.model.clone()),
            usage: BilledUsage {
                input: usage.input_tokens.unwrap_or_else(|| input_tokens(ask.body_bytes)),
                output: usage.output_tokens.unwrap_or(allowed),
                cache_read: usage.cache_read,
                cache_write_5m: usage.cache_5m,
                cache_write_1h: usage.cache_1h,
                web_search: usage.web_search,
            },
            stop_reason: content.stop_reason.clone().unwrap_or_else(|| natural_stop.to_owned()),
            thinking: content.thinking,
            tool,
            tool_input: content.tool_command.as_deref().map_or(Cow::Borrowed(TOOL_INPUT), command_input),
            mark: ask.mark,
            miscounts: usage.miscounts,
            container: None,
            service: service_fields(usage),
        }
    }

    /// What is billed after `sent` of `all` deltas: the whole input, and output in proportion.
    pub(super) fn usage_after(&self, sent: u32, all: u32) -> BilledUsage {
        let share =
            if sent >= all { self.usage.output } else { self.usage.output * u64::from(sent) / u64::from(all).max(1) };
        BilledUsage { output: share.max(self.usage.output.min(OUTPUT_AT_START)), ..self.usage }
    }

    fn write_usage(&self, out: &mut String, output: u64, with_searches: bool) {
        let usage = &self.usage;
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"cache_creation":{{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":{}}},"output_tokens":{output}"#,
            usage.input,
            usage.cache_write_5m + usage.cache_write_1h,
            usage.cache_read,
            usage.cache_write_5m,
            usage.cache_write_1h,
        );
        if with_searches {
            self.write_searches(out);
        }
        out.push_str(&self.service);
        out.push('}');
    }

    fn write_searches(&self, out: &mut String) {
        if self.usage.web_search > 0 {
            let searches = self.usage.web_search;
            let _ = write!(out, r#","server_tool_use":{{"web_search_requests":{searches},"web_fetch_requests":0}}"#);
        }
    }

    fn container_field(&self) -> String {
        let expires = "2026-12-21T00:00:00Z";
        let shown = |id: &String| format!(r#","container":{{"id":"{id}","expires_at":"{expires}"}}"#);
        self.container.as_ref().map(shown).unwrap_or_default()
    }

    /// Data of the `message_start` event.
    pub(super) fn start_json(&self) -> String {
        let mut out = String::with_capacity(512);
        let _ = write!(
            out,
            r#"{{"type":"message_start","message":{{"model":{},"id":"{}","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":"#,
            quoted(&self.model),
            self.id,
        );
        self.write_usage(&mut out, OUTPUT_AT_START.min(self.usage.output), false);
        out.push_str("}}");
        out
    }

    /// Data of the `message_delta` event; its usage is cumulative and has no start-only fields.
    pub(super) fn delta_json(&self) -> String {
        let usage = &self.usage;
        let mut out = String::with_capacity(256);
        let _ = write!(
            out,
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{}","stop_sequence":null{}}},"usage":{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"output_tokens":{}"#,
            self.stop_reason,
            self.container_field(),
            usage.input,
            usage.cache_write_5m + usage.cache_write_1h,
            usage.cache_read,
            usage.output,
        );
        self.write_searches(&mut out);
        out.push_str("}}");
        out
    }

    /// The JSON answer. `body_bytes` makes it exactly that long, where an empty text is not longer already.
    pub(super) fn json(&self, corpus: &Corpus, content: &ContentScript) -> Vec<u8> {
        let mut front = format!(
            r#"{{"model":{},"id":"{}","type":"message","role":"assistant","content":["#,
            quoted(&self.model),
            self.id
        );
        if self.thinking {
            let _ =
                write!(front, r#"{{"type":"thinking","thinking":"{THOUGHT}","signature":"{}"}},"#, self.signature());
        }
        front.push_str(r#"{"type":"text","text":""#);
        let mut back = String::from("\"}");
        if let Some((id, name)) = &self.tool {
            let _ = write!(
                back,
                r#",{{"type":"tool_use","id":"{id}","name":{},"input":{}}}"#,
                quoted(name),
                self.tool_input
            );
        }
        let (stop, container) = (&self.stop_reason, self.container_field());
        let _ = write!(back, r#"],"stop_reason":"{stop}","stop_sequence":null{container},"usage":"#);
        self.write_usage(&mut back, self.usage.output, true);
        back.push('}');
        let text_bytes = match content.body_bytes {
            Some(bytes) => bytes.saturating_sub(front.len() + back.len()),
            None => content.events as usize * content.event_bytes,
        };
        let mut out = Vec::with_capacity(front.len() + text_bytes + back.len());
        out.extend_from_slice(front.as_bytes());
        corpus.append_marked(&mut out, self.mark, text_bytes);
        out.extend_from_slice(back.as_bytes());
        out
    }

    /// A stand-in for the signature of a thinking block: base64 alphabet, the same for the same body.
    pub(super) fn signature(&self) -> String {
        let mark = self.mark;
        format!("EqQBCkYIBxgCKkD{mark:016x}{:016x}{:016X}==", mark.rotate_left(17), mark.rotate_left(43))
    }
}

/// What the thinking block says.
pub(super) const THOUGHT: &str = "Let me think about where the water goes. It goes over the weir.";

/// What the tool is called with, if the script does not say.
const TOOL_INPUT: &str = r#"{"command":"ls -la","path":"/srv/app","note":"caf\u00e9 \"x\""}"#;

fn command_input(command: &str) -> Cow<'static, str> {
    Cow::Owned(format!(r#"{{"command":{}}}"#, quoted(command)))
}

/// Input tokens of a body, unless the script says: its bytes / 4, rounded up.
pub(super) fn input_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(4).max(1)
}

fn service_fields(usage: &UsageScript) -> String {
    let tier = usage.tier.as_deref().unwrap_or("standard");
    let geo = usage.geo.as_deref().unwrap_or("not_available");
    let mut out = format!(r#","service_tier":"{tier}","inference_geo":"{geo}""#);
    if let Some(speed) = &usage.speed {
        let _ = write!(out, r#","speed":"{speed}""#);
    }
    out
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
