//! A record as others see it: the field names of interface.md §5.

use crate::kernel::{names::Names, record::Record, usage::Usage, usage::UsageSource};
use serde::Serialize;

/// One attempt at an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// Which upstream.
    pub upstream: String,
    /// Status of its answer; 0 without one.
    pub status: u16,
    /// How it ended.
    pub result: &'static str,
    /// How long it took, microseconds.
    pub duration_us: u64,
    /// The upstream had the whole request and gave no answer: it may bill what nobody has seen.
    pub maybe_billed: bool,
}

/// A record with its names. What a request does not have is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordView {
    /// Which request.
    pub request_id: String,
    /// The provider's id for it.
    pub upstream_request_id: Option<String>,
    /// When its head was read, RFC 3339.
    pub started_at: String,
    /// When it was over, RFC 3339.
    pub ended_at: String,
    /// Id of the key.
    pub key: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The team.
    pub team: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// Claude Code session.
    pub session: Option<String>,
    /// Claude Code agent.
    pub agent: Option<String>,
    /// Claude Code request class.
    pub request_class: Option<String>,
    /// API format.
    pub format: &'static str,
    /// What was asked.
    pub operation: &'static str,
    /// The model asked for.
    pub model_requested: Option<String>,
    /// The model that answered.
    pub model_served: Option<String>,
    /// The upstream that answered.
    pub upstream: Option<String>,
    /// Status the client got; 0 if it got none.
    pub status: u16,
    /// How it ended.
    pub outcome: &'static str,
    /// The fault that refused or ended it.
    pub refused_by: Option<&'static str>,
    /// The answer was a stream.
    pub stream: bool,
    /// Request body. Bytes.
    pub request_bytes: u64,
    /// Answer body. Bytes.
    pub response_bytes: u64,
    /// What it used.
    pub usage: Usage,
    /// Who says so.
    pub usage_source: UsageSource,
    /// The usage objects as the provider sent them: of an answer that is not streamed its own, of a stream `message_start`,
    /// `message_delta`, and `fallback` for the model that took over.
    pub usage_raw: Option<serde_json::Value>,
    /// What it cost, US dollars.
    pub cost_usd: String,
    /// What the budgets held back for it, US dollars.
    pub reserved_usd: String,
    /// Which price table.
    pub price_version: Option<String>,
    /// What was tried.
    pub attempts: Vec<AttemptView>,
    /// To the first byte of the answer's body, microseconds.
    pub ttfb_us: u64,
    /// To the end, microseconds.
    pub duration_us: u64,
    /// Of that, spent in weir, microseconds.
    pub gateway_us: u64,
    /// SHA-256 of the request body, hexadecimal.
    pub request_sha256: Option<String>,
    /// SHA-256 of the answer's body, hexadecimal.
    pub response_sha256: Option<String>,
    /// What is kept of both bodies: none, hashed, stored, dropped.
    pub body: &'static str,
    /// The request's body broke off, or was not wanted to its end.
    pub request_cut: bool,
    /// The answer's body broke off.
    pub response_cut: bool,
    /// It repeats this request, which still ran when it came.
    pub duplicate_of: Option<String>,
    /// This request repeated it while it ran.
    pub repeated_by: Option<String>,
    /// Ids of batches, files, containers and threads that it made, settled or removed, with commas between.
    pub objects: Option<String>,
    /// What became of them: made, settled, gone.
    pub object_event: Option<&'static str>,
}

impl RecordView {
    /// Resolves a record's names.
    pub fn of(record: &Record, names: &Names) -> Self {
        let principal = record.principal.map(|id| names.principal_of(id)).unwrap_or_default();
        let attempts = record.attempts.iter().map(|attempt| AttemptView {
            upstream: names.name_of(attempt.upstream).as_ref().into(),
            status: attempt.status,
            result: attempt.result.as_str(),
            duration_us: attempt.duration_us,
            maybe_billed: attempt.maybe_billed,
        });
        Self {
            request_id: record.request_id.to_string(),
            upstream_request_id: some(&record.upstream_request_id),
            started_at: record.started_at.rfc3339(),
            ended_at: record.ended_at.rfc3339(),
            key: some(&principal.key),
            user: some(&principal.user),
            team: some(&principal.team),
            project: some(&principal.project),
            session: some(&record.session),
            agent: some(&record.agent),
            request_class: some(&record.request_class),
            format: record.format.as_str(),
            operation: record.operation.as_str(),
            model_requested: some(&record.model_requested),
            model_served: some(&record.model_served),
            upstream: record.upstream.map(|id| names.name_of(id).as_ref().into()),
            status: record.status,
            outcome: record.outcome.as_str(),
            refused_by: record.refused_by,
            stream: record.stream,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            usage: record.usage,
            usage_source: record.usage_source,
            usage_raw: record.usage_raw.as_deref().and_then(|raw| serde_json::from_str(raw).ok()),
            cost_usd: record.cost.to_string(),
            reserved_usd: record.reserved.to_string(),
            price_version: some(&record.price_version),
            attempts: attempts.collect(),
            ttfb_us: record.ttfb_us,
            duration_us: record.duration_us,
            gateway_us: record.gateway_us,
            request_sha256: record.request_sha256.map(hex),
            response_sha256: record.response_sha256.map(hex),
            body: record.body.kept.as_str(),
            request_cut: record.body.request_cut,
            response_cut: record.body.response_cut,
            duplicate_of: record.turn.as_ref().and_then(|turn| turn.duplicate_of).map(|id| id.to_string()),
            repeated_by: record.turn.as_ref().and_then(|turn| turn.repeated_by).map(|id| id.to_string()),
            objects: record.objects.as_ref().map(|note| note.ids.join(",")),
            object_event: record.objects.as_ref().map(|note| note.event.as_str()),
        }
    }
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.into())
}
