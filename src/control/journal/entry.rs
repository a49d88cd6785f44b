//! The messages on disk. Fields are only ever added; a number once given is never given again.

/// One entry of a group. Further kinds take the next tags.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EntryV1 {
    #[prost(oneof = "KindV1", tags = "1, 2, 3, 4")]
    pub kind: Option<KindV1>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[allow(clippy::large_enum_variant, reason = "lives for one encode or decode; boxing would allocate per entry")]
pub(super) enum KindV1 {
    #[prost(message, tag = "1")]
    Open(OpenV1),
    #[prost(message, tag = "2")]
    Close(CloseV1),
    #[prost(message, tag = "3")]
    Change(ChangeV1),
    #[prost(message, tag = "4")]
    Join(JoinV1),
}

/// How far a side chain has come over into this one (`side`). Readers that do not know it pass it by.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JoinV1 {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, tag = "2")]
    pub segment: u64,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// The hash of the side chain's last group before that place.
    #[prost(bytes = "vec", tag = "4")]
    pub last: Vec<u8>,
    /// Nothing more will come of it.
    #[prost(bool, tag = "5")]
    pub done: bool,
}

/// Somebody changes something (`control::changes`). Readers that do not know it pass it by.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangeV1 {
    #[prost(fixed64, tag = "1")]
    pub id_high: u64,
    #[prost(fixed64, tag = "2")]
    pub id_low: u64,
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    #[prost(string, tag = "4")]
    pub kind: String,
    #[prost(string, tag = "5")]
    pub who: String,
    #[prost(string, tag = "6")]
    pub peer: String,
    #[prost(string, tag = "7")]
    pub subject: String,
    /// JSON, without a secret.
    #[prost(string, tag = "8")]
    pub before: String,
    /// JSON, without a secret.
    #[prost(string, tag = "9")]
    pub after: String,
    #[prost(string, optional, tag = "10")]
    pub failed: Option<String>,
}

/// A request is about to go upstream. Numbers of formats, operations, outcomes and results are in `codec.rs`.
/// Reserved: 16 to 31 for the audit.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OpenV1 {
    #[prost(fixed64, tag = "1")]
    pub request_id_high: u64,
    #[prost(fixed64, tag = "2")]
    pub request_id_low: u64,
    #[prost(uint64, tag = "3")]
    pub started_at_ms: u64,
    #[prost(message, optional, tag = "4")]
    pub principal: Option<PrincipalV1>,
    #[prost(string, tag = "5")]
    pub session: String,
    #[prost(uint32, tag = "6")]
    pub format: u32,
    #[prost(uint32, tag = "7")]
    pub operation: u32,
    #[prost(string, tag = "8")]
    pub model_requested: String,
    #[prost(string, tag = "9")]
    pub upstream: String,
    #[prost(uint64, tag = "10")]
    pub request_bytes: u64,
    #[prost(sint64, tag = "11")]
    pub reserved_nanos: i64,
    #[prost(message, optional, tag = "12")]
    pub estimate: Option<UsageV1>,
    #[prost(sint64, tag = "13")]
    pub estimate_cost_nanos: i64,
    /// As in `CloseV1`.
    #[prost(bytes = "vec", tag = "14")]
    pub session_uuid: Vec<u8>,
}

/// A request is over.
/// Reserved: 33 to 39 for usage, 40 to 59 for the audit (peer, digests, stored bodies).
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseV1 {
    #[prost(fixed64, tag = "1")]
    pub request_id_high: u64,
    #[prost(fixed64, tag = "2")]
    pub request_id_low: u64,
    #[prost(string, tag = "3")]
    pub upstream_request_id: String,
    #[prost(uint64, tag = "4")]
    pub started_at_ms: u64,
    #[prost(uint64, tag = "5")]
    pub ended_at_ms: u64,
    #[prost(message, optional, tag = "6")]
    pub principal: Option<PrincipalV1>,
    #[prost(string, tag = "7")]
    pub session: String,
    #[prost(string, tag = "8")]
    pub agent: String,
    #[prost(string, tag = "9")]
    pub request_class: String,
    #[prost(uint32, tag = "10")]
    pub format: u32,
    #[prost(uint32, tag = "11")]
    pub operation: u32,
    #[prost(string, tag = "12")]
    pub model_requested: String,
    #[prost(string, tag = "13")]
    pub model_served: String,
    #[prost(string, optional, tag = "14")]
    pub upstream: Option<String>,
    #[prost(uint32, tag = "15")]
    pub status: u32,
    #[prost(uint32, tag = "16")]
    pub outcome: u32,
    #[prost(string, optional, tag = "17")]
    pub refused_by: Option<String>,
    #[prost(bool, tag = "18")]
    pub stream: bool,
    #[prost(uint64, tag = "19")]
    pub request_bytes: u64,
    #[prost(uint64, tag = "20")]
    pub response_bytes: u64,
    #[prost(message, optional, tag = "21")]
    pub usage: Option<UsageV1>,
    #[prost(uint32, tag = "22")]
    pub usage_source: u32,
    #[prost(sint64, tag = "23")]
    pub cost_nanos: i64,
    #[prost(sint64, tag = "24")]
    pub reserved_nanos: i64,
    #[prost(string, tag = "25")]
    pub price_version: String,
    #[prost(message, repeated, tag = "26")]
    pub attempts: Vec<AttemptV1>,
    #[prost(uint64, tag = "27")]
    pub ttfb_us: u64,
    #[prost(uint64, tag = "28")]
    pub duration_us: u64,
    #[prost(uint64, tag = "29")]
    pub gateway_us: u64,
    #[prost(bytes = "vec", tag = "30")]
    pub request_sha256: Vec<u8>,
    /// The usage objects as the provider sent them, JSON, where `usage_short` cannot say it. Entries from before have none.
    #[prost(string, optional, tag = "31")]
    pub usage_raw: Option<String>,
    /// The same, shorter (`shorthand::shorten`).
    #[prost(bytes = "vec", tag = "32")]
    pub usage_short: Vec<u8>,
    #[prost(bytes = "vec", tag = "40")]
    pub response_sha256: Vec<u8>,
    /// What is kept of the bodies.
    #[prost(uint32, tag = "41")]
    pub body_kept: u32,
    #[prost(bool, tag = "42")]
    pub request_cut: bool,
    #[prost(bool, tag = "43")]
    pub response_cut: bool,
    /// The request that this one repeats while it runs, 16 bytes; empty where there is none, and in entries from before.
    #[prost(bytes = "vec", tag = "62")]
    pub duplicate_of: Vec<u8>,
    /// The request that repeats this one.
    #[prost(bytes = "vec", tag = "63")]
    pub repeated_by: Vec<u8>,
    #[prost(message, optional, tag = "60")]
    pub objects: Option<ObjectsV1>,
    /// The session, where it is a UUID: 16 bytes, and `session` is empty.
    #[prost(bytes = "vec", tag = "64")]
    pub session_uuid: Vec<u8>,
    /// The model that was asked for answered, and `model_served` is empty.
    #[prost(bool, tag = "65")]
    pub served_as_requested: bool,
}

/// Batches, files, containers and threads that a request made, settled or removed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ObjectsV1 {
    #[prost(string, repeated, tag = "1")]
    pub ids: Vec<String>,
    #[prost(uint32, tag = "2")]
    pub event: u32,
    /// Whom the cost is booked on, if not the caller.
    #[prost(message, optional, tag = "3")]
    pub booked_on: Option<PrincipalV1>,
    /// When it is booked, if not at the moment the request began.
    #[prost(uint64, tag = "4")]
    pub booked_at_ms: u64,
}

/// Who called. Reserved: 5 for an organisation.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PrincipalV1 {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub user: String,
    #[prost(string, tag = "3")]
    pub team: String,
    #[prost(string, tag = "4")]
    pub project: String,
}

/// What was used.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct UsageV1 {
    #[prost(uint64, tag = "1")]
    pub input: u64,
    #[prost(uint64, tag = "2")]
    pub output: u64,
    #[prost(uint64, tag = "3")]
    pub cache_read: u64,
    #[prost(uint64, tag = "4")]
    pub cache_write_5m: u64,
    #[prost(uint64, tag = "5")]
    pub cache_write_1h: u64,
    #[prost(uint64, tag = "6")]
    pub web_search: u64,
    #[prost(bool, tag = "7")]
    pub fast: bool,
    #[prost(bool, tag = "8")]
    pub batch: bool,
    #[prost(bool, tag = "9")]
    pub geo_us: bool,
}

/// One attempt at an upstream.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttemptV1 {
    /// Empty: the upstream that answered the request.
    #[prost(string, tag = "1")]
    pub upstream: String,
    #[prost(uint32, tag = "2")]
    pub status: u32,
    #[prost(uint32, tag = "3")]
    pub result: u32,
    #[prost(uint64, tag = "4")]
    pub duration_us: u64,
    #[prost(bool, tag = "5")]
    pub maybe_billed: bool,
}
