//! The record: what is known of a request when it is over, and the opening note written before it went upstream.
//!
//! Both are plain values of fixed size. A note is handed over with one copy; a record is made in a box of its own, which goes up as it
//! is, with the usage objects as the provider sent them in a further one, where there are any. Names are numbers
//! here (`NameId`, `PrincipalId`); the control plane resolves them when it writes the journal.

use super::{
    ids::{PrincipalId, RequestId, SnapshotVersion},
    money::Nanos,
    names::NameId,
    objects::ObjectNote,
    time::UnixMs,
    usage::{Usage, UsageSource},
};
use arrayvec::{ArrayString, ArrayVec};

/// Ids and labels that clients or providers choose: cut at 64 bytes.
pub type Label = ArrayString<64>;
/// Model ids in records: cut at 96 bytes.
pub type ModelLabel = ArrayString<96>;

/// Cuts a text to what an inline string holds, at a character boundary; bytes that are no UTF-8 end it.
pub fn inline<const N: usize>(bytes: &[u8]) -> ArrayString<N> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    };
    inline_text(text)
}

/// The same of what is known to be text.
pub fn inline_text<const N: usize>(text: &str) -> ArrayString<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ArrayString::from(&text[..end]).unwrap_or_default()
}

/// Which API format the client spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anthropic Messages.
    #[default]
    Anthropic,
    /// Bedrock InvokeModel.
    Bedrock,
    /// Vertex rawPredict.
    Vertex,
}

impl Format {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
        }
    }
}

/// What the client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A message, streamed or not.
    Messages,
    /// Counting tokens.
    CountTokens,
    /// The list of models, or one of them.
    Models,
    /// What the caller's budgets have left (`GET /api/oauth/usage`).
    Usage,
    /// A probe (`HEAD /`, `HEAD /api/hello`).
    Probe,
    /// A batch of messages is made.
    BatchCreate,
    /// The caller's batches.
    BatchList,
    /// How a batch is doing.
    BatchGet,
    /// A batch is to end early.
    BatchCancel,
    /// A batch is removed.
    BatchDelete,
    /// What came of a batch.
    BatchResults,
    /// A file is stored.
    FileUpload,
    /// The caller's files.
    FileList,
    /// What is known of a file.
    FileGet,
    /// A file's bytes.
    FileContent,
    /// A file is removed.
    FileDelete,
    /// Nothing weir knows.
    #[default]
    Unknown,
}

impl Operation {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Usage => "usage",
            Self::Probe => "probe",
            Self::BatchCreate => "batch_create",
            Self::BatchList => "batch_list",
            Self::BatchGet => "batch_get",
            Self::BatchCancel => "batch_cancel",
            Self::BatchDelete => "batch_delete",
            Self::BatchResults => "batch_results",
            Self::FileUpload => "file_upload",
            Self::FileList => "file_list",
            Self::FileGet => "file_get",
            Self::FileContent => "file_content",
            Self::FileDelete => "file_delete",
            Self::Unknown => "unknown",
        }
    }
}

impl Operation {
    /// Is it about batches or files: things that stay with the account that made them?
    pub fn is_of_objects(self) -> bool {
        self.makes() || self.lists() || self.names_object()
    }

    /// Does it make one? Then it must not be asked twice.
    pub fn makes(self) -> bool {
        matches!(self, Self::BatchCreate | Self::FileUpload)
    }

    /// Does it ask for all of them?
    pub fn lists(self) -> bool {
        matches!(self, Self::BatchList | Self::FileList)
    }

    /// Does it name one?
    pub fn names_object(self) -> bool {
        matches!(
            self,
            Self::BatchGet
                | Self::BatchCancel
                | Self::BatchDelete
                | Self::BatchResults
                | Self::FileGet
                | Self::FileContent
                | Self::FileDelete
        )
    }

    /// Does it remove one?
    pub fn removes(self) -> bool {
        matches!(self, Self::BatchDelete | Self::FileDelete)
    }

    /// Is a successful answer read, since an id must be learnt from it or an address in it changed?
    pub fn reads_answer(self) -> bool {
        self.makes() || self.lists() || matches!(self, Self::BatchGet | Self::BatchCancel)
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEvent {
    /// The answer made it, or showed it for the first time.
    Made,
    /// The results of a batch were read to their end, and are booked instead of what was held for them.
    Settled,
    /// It was removed.
    Gone,
}

impl ObjectEvent {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Settled => "settled",
            Self::Gone => "gone",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The answer reached the client whole.
    Completed,
    /// The client went away.
    ClientAborted,
    /// The upstream could not be reached, or broke off.
    UpstreamFailed,
    /// weir refused it.
    Refused,
    /// weir failed.
    #[default]
    GatewayFailed,
}

impl Outcome {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientAborted => "client_aborted",
            Self::UpstreamFailed => "upstream_failed",
            Self::Refused => "refused",
            Self::GatewayFailed => "gateway_failed",
        }
    }
}

/// How one attempt at an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// It answered; the status says what.
    Answered,
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// Closed, reset or not HTTP.
    Broken,
    /// Cancelled, because the client went away.
    Cancelled,
}

impl AttemptResult {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One attempt at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which upstream.
    pub upstream: NameId,
    /// Status of its answer; 0 without one.
    pub status: u16,
    /// How it ended.
    pub result: AttemptResult,
    /// How long it took, microseconds.
    pub duration_us: u64,
    /// The upstream had the whole request and gave no answer: it may bill what nobody has seen.
    pub maybe_billed: bool,
}

/// Written before the first byte goes upstream. If weir dies, this is what is left to close.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Which request.
    pub request_id: RequestId,
    /// When its head was read.
    pub started_at: UnixMs,
    /// Whose it is.
    pub principal: PrincipalId,
    /// Claude Code session, as the client says.
    pub session: Label,
    /// API format.
    pub format: Format,
    /// What was asked.
    pub operation: Operation,
    /// The model asked for.
    pub model_requested: ModelLabel,
    /// The first upstream to be tried.
    pub upstream: NameId,
    /// Request body, as far as announced or read. Bytes.
    pub request_bytes: u64,
    /// What the budgets hold back for it.
    pub reserved: Nanos,
    /// What it will be booked with if nothing more is ever heard of it.
    pub estimate: Usage,
    /// The price of that.
    pub estimate_cost: Nanos,
}

/// One request, over.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Which request.
    pub request_id: RequestId,
    /// The provider's id for it.
    pub upstream_request_id: Label,
    /// When its head was read.
    pub started_at: UnixMs,
    /// When it was over.
    pub ended_at: UnixMs,
    /// Whose it is; none for a caller without a valid credential.
    pub principal: Option<PrincipalId>,
    /// Claude Code session, as the client says.
    pub session: Label,
    /// Claude Code agent, as the client says.
    pub agent: Label,
    /// Claude Code request class, as the client says.
    pub request_class: Label,
    /// API format.
    pub format: Format,
    /// What was asked.
    pub operation: Operation,
    /// The model asked for.
    pub model_requested: ModelLabel,
    /// The model that answered.
    pub model_served: ModelLabel,
    /// The upstream that answered.
    pub upstream: Option<NameId>,
    /// Status the client got; 0 if it got none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The label of the fault that refused or ended it.
    pub refused_by: Option<&'static str>,
    /// The answer was a stream.
    pub stream: bool,
    /// Request body. Bytes.
    pub request_bytes: u64,
    /// Answer body sent to the client. Bytes.
    pub response_bytes: u64,
    /// What it used.
    pub usage: Usage,
    /// Who says so.
    pub usage_source: UsageSource,
    /// The usage objects as the provider sent them, JSON (`UsageTally::take_raw` says how); none where there were none, or where
    /// they are larger than `USAGE_RAW_BYTES_MAX`.
    pub usage_raw: Option<Box<str>>,
    /// What it cost.
    pub cost: Nanos,
    /// What the budgets held back for it.
    pub reserved: Nanos,
    /// Which price table.
    pub price_version: ArrayString<24>,
    /// What was tried.
    pub attempts: ArrayVec<Attempt, { super::limits::ATTEMPTS_MAX }>,
    /// From the head being read to the first byte of the answer's body leaving, microseconds.
    pub ttfb_us: u64,
    /// From the head being read to the end, microseconds.
    pub duration_us: u64,
    /// Of that, spent in weir rather than waiting for others, microseconds.
    pub gateway_us: u64,
    /// SHA-256 of the request body as the client sent it, as far as it came; where the audit asks for it.
    pub request_sha256: Option<[u8; 32]>,
    /// SHA-256 of the answer's body as the upstream sent it, as far as it came; where the audit asks for it, and there was one.
    pub response_sha256: Option<[u8; 32]>,
    /// What the audit keeps of both.
    pub body: BodyMark,
    /// The configuration it was served by, as numbered by this process; not in the journal.
    pub config_version: SnapshotVersion,
    /// It was asked twice, or was the second time; boxed, since hardly any is.
    pub turn: Option<Box<TurnMark>>,
    /// The batches, files, containers and threads that it made, settled or removed.
    pub objects: Option<Box<ObjectNote>>,
}

impl Record {
    /// Whom its cost is booked on, and when: the caller and the moment it began, but for the results of a batch.
    pub fn booked(&self) -> (Option<PrincipalId>, UnixMs) {
        let elsewhere = self.objects.as_ref().and_then(|note| note.booked);
        elsewhere.map_or((self.principal, self.started_at), |(principal, at)| (Some(principal), at))
    }
}

/// The other requests that asked for the same turn while this one ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnMark {
    /// It repeats this one, which ran when it came.
    pub duplicate_of: Option<RequestId>,
    /// It was repeated by this one.
    pub repeated_by: Option<RequestId>,
}

/// What the audit keeps of the bodies of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyMark {
    /// How much.
    pub kept: Kept,
    /// The request's body broke off, or was not wanted to its end.
    pub request_cut: bool,
    /// The answer's body broke off.
    pub response_cut: bool,
}

/// How much the audit keeps of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    #[default]
    None,
    /// Their hashes.
    Hashed,
    /// They went to the store of bodies, whole or as far as they came.
    Stored,
    /// They should have been stored, and there was no room for them (`audit.on_body_overflow = "drop"`).
    Dropped,
}

impl Kept {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hashed => "hashed",
            Self::Stored => "stored",
            Self::Dropped => "dropped",
        }
    }
}

/// What a shard sends up.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most notes are gone with the next flush; a ring slot is a good place for them"
)]
pub enum Entry {
    /// A request is about to go upstream.
    Open(Open),
    /// A request is over.
    Close(Box<Record>),
}
