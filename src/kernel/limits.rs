//! Every cap has a name and a unit, here. Relations between caps are checked at compile time; what the operator sets is
//! checked when the configuration is read.

use super::{overload::class::Shedding, turns::Duplicates};
use std::time::Duration;

/// First read of a client's request and of an upstream's answer, and each read while events come one by one. Bytes.
pub const SMALL_BUFFER_BYTES: usize = 4096;
/// What is kept of a read, where it is little. Bytes.
pub const LITTLE_BUFFER_BYTES: usize = 1024;
/// Reads of large bodies. Bytes.
pub const BULK_BUFFER_BYTES: usize = 64 * 1024;
/// One read of a request's body where so much of it waits already, at most. Bytes.
pub const BODY_READ_BYTES_MAX: usize = 256 * 1024;
/// Space kept free in front of an upstream's answer, so that our head can stand right before its body. Bytes.
pub const HEAD_ROOM_BYTES: usize = 1024;
/// A client's head, at most. Bytes (contract.md §1.5 needs less; nginx and node allow as much).
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The request target, at most. Bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Headers in a head, at most.
pub const HEADERS_MAX: usize = 128;
/// An upstream's head, at most. Bytes.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Informational answers (1xx) relayed for one request, at most.
pub const INTERIM_ANSWERS_MAX: u32 = 8;
/// Extensions of one chunk. Bytes.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Trailers of a chunked body. Bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Request body waiting between the client's read and the upstream's write, per request. Bytes.
pub const PIPE_BYTES_MAX: usize = 256 * 1024;
/// Request bodies kept for a retry, per shard. Bytes. Beyond it requests cut through and are not retried.
pub const REPLAY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A request body that is signed: the whole of it must be known before its head. Bytes (botocore allows as much for Bedrock,
/// contract.md §1.5).
pub const SIGNED_BODY_BYTES_MAX: u64 = 25_000_000;
/// By how much an upstream's clock must differ from ours before signatures take note. Seconds; AWS allows 300.
pub const SKEW_SECONDS_MIN: i64 = 30;
/// Idle bulk buffers kept by a shard for the next request. Bytes.
pub const IDLE_BUFFER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A captured usage object or event. Bytes.
pub const USAGE_CAPTURE_BYTES_MAX: usize = 64 * 1024;
/// An event on its way between two formats, kept until it is whole. Bytes; a larger one breaks its stream.
pub const BRIDGED_EVENT_BYTES_MAX: usize = 1024 * 1024;
/// An answer that is said anew in another format: an error, a count. Bytes; a longer one is cut.
pub const BRIDGED_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Silence on a stream between two formats after which the client gets a ping: clients say that they wait after 20 s.
pub const PING_AFTER: Duration = Duration::from_secs(15);
/// The usage objects of one answer as the provider sent them, kept for its record. Bytes; larger ones are left out.
pub const USAGE_RAW_BYTES_MAX: usize = 4 * 1024;
/// Entries of `usage.iterations` that are billed one by one; an answer with more is booked as an estimate.
pub const ITERATIONS_MAX: usize = 64;
/// A model id, at most. Bytes (botocore allows 2,048 for ARNs; records keep this much).
pub const MODEL_BYTES_MAX: usize = 512;
/// Idle upstream connections a shard keeps per upstream, unless the operator says otherwise.
pub const IDLE_UPSTREAM_CONNECTIONS_MAX: usize = 512;
/// The same, if the operator sets it.
pub const IDLE_UPSTREAM_CONNECTIONS_SET_MAX: usize = 4096;
/// How long an idle upstream connection is kept, unless the operator says otherwise.
pub const IDLE_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(50);
/// How old an upstream connection gets, unless the operator says otherwise.
pub const UPSTREAM_CONNECTION_AGE: Duration = Duration::from_secs(15 * 60);
/// How many attempts one request may make.
pub const ATTEMPTS_MAX: usize = 4;
/// Bytes of bodies on a shard's lane to the store of bodies, and in that thread's hands. Bytes.
pub const BODY_LANE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries on that lane.
pub const BODY_LANE_ENTRIES: usize = 8 * 1024;
/// Of these, entries that only ends of exchanges may use, so that a body that found no room is still said to have found none.
pub const BODY_LANE_SPARE: usize = 2 * 1024;
/// Small reads of a body are gathered to so much before they go on the lane, per body. Bytes.
pub const BODY_CHUNK_BYTES: usize = 16 * 1024;
/// Targets of one model. A request remembers which of them it has tried in the bits of a word.
pub const TARGETS_MAX: usize = 64;
/// Upstreams of a configuration.
pub const UPSTREAMS_MAX: usize = 256;
/// An error answer that is kept while another target is tried, head and body. Bytes; of a larger one only the status is.
pub const KEPT_ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long the rest of an error answer is awaited before another target is tried.
pub const KEPT_ANSWER_WAIT: Duration = Duration::from_millis(300);
/// The pause before a third attempt is random below this, before a fourth below twice this: requests that failed together
/// should not come back together.
pub const RETRY_JITTER: Duration = Duration::from_millis(40);
/// The longest wait that an upstream's `retry-after` can ask of us.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Entries in a shard's ring to the journal.
pub const JOURNAL_RING_ENTRIES: usize = 16 * 1024;
/// How long a request waits for room in that ring: a disk that pauses is no reason to refuse anybody.
pub const JOURNAL_WAIT: Duration = Duration::from_secs(5);
/// Ring entries that only records of refusals may use, so that shedding load is still recorded.
pub const JOURNAL_RING_SPARE: usize = 1024;
/// How often a shard looks at snapshots, deadlines and leases.
pub const TICK: Duration = Duration::from_millis(20);
/// How long a request waits for room in a nearly spent budget before it is asked to come back.
pub const BUDGET_WAIT: Duration = Duration::from_secs(5);
/// This part of the places on a shard, and a few more, are requests that are being refused: whoever comes when everything is
/// full must still be told apart from a loop that fills it.
pub const REFUSED_AT_ONCE: usize = 8;
/// The few more.
pub const REFUSED_AT_ONCE_MIN: usize = 64;
/// Requests with a place on a shard, unless the operator says otherwise.
pub const STREAMS_MAX: usize = 6 * 1024;
/// Requests that wait for one, unless the operator says otherwise.
pub const QUEUE_MAX: usize = 1024;
/// How long a request waits for other shards to bring back what they do not use of a rate limit.
pub const RATE_WAIT: Duration = Duration::from_millis(80);
/// How much request body is read and thrown away after an early answer, so that the connection can be kept. Bytes.
pub const DISCARD_BYTES_MAX: u64 = 1024 * 1024;
/// Models with several targets whose prices a shard has at hand, in the spellings of clients; some 500 bytes each.
pub const PRICES_KEPT_MAX: usize = 256;
/// Turns under way that can be recognised when they are asked for again, over all shards; some 200 bytes each.
pub const TURNS_MAX: usize = 128 * 1024;
/// Pairs of key and model whose usual cost a shard remembers.
pub const EXPECTATIONS_MAX: usize = 4096;
/// Principals that have a number, before shards refuse new ones. Each takes some 300 bytes, for the life of the process.
pub const PRINCIPALS_MAX: u32 = 500_000;
/// Accounts (and as many limiters) of callers that no key stands for: users and projects of tokens, and single sessions.
pub const FIRST_SIGHT_MAX: usize = 250_000;
/// Those of single sessions among them: what clients choose must not crowd out whom an identity provider names.
pub const FIRST_SIGHT_SESSIONS_MAX: usize = 150_000;
/// Sessions whose spending is remembered, most of them without an account; some 100 bytes each.
pub const SESSIONS_KEPT_MAX: usize = 400_000;
/// Batches, files, containers and threads whose account and maker are remembered; some 100 bytes each.
pub const OBJECTS_KEPT_MAX: usize = 200_000;
/// Upstreams with a model of which is known what they refuse by name; at most some 4 kB each.
pub const REPAIRED_MAX: usize = 256;
/// Names that are known for each. Requests are compared with all of them.
pub const REPAIRS_EACH_MAX: usize = 16;
/// How long what was refused is left out before it is tried again.
pub const REPAIR_EXPIRY: Duration = Duration::from_secs(60 * 60);
/// What of a `container` or `thread` of a request is looked at. Bytes; a container with many skills is longer, and not stuck to.
pub const STICKY_BYTES_MAX: usize = 4096;
/// The body that makes a batch: it is read whole before it is admitted. Bytes (the provider takes 256 MB, contract.md §1.5).
pub const BATCH_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Different models in one batch.
pub const BATCH_MODELS_MAX: usize = 32;
/// A file that is uploaded, with what surrounds it. Bytes (contract.md §1.5: 500 MB).
pub const FILE_BODY_BYTES_MAX: u64 = 501 * 1024 * 1024;
/// The description of a batch, of a file, or a page of them. Bytes; a longer answer is refused.
pub const OBJECT_ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// One line of a batch's results. Bytes; a batch with a longer one stays booked as it was admitted.
pub const RESULT_LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the answer to a batch or file that was made is awaited after its client has left: it may have been made.
pub const MADE_ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How long the account of a session is kept unused, before its sum alone is.
pub const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// Callers and sessions whose accounts and limits a shard has at hand.
pub const STANDINGS_MAX: usize = 64 * 1024;
/// How long a shard keeps them at hand unused.
pub const STANDING_IDLE: Duration = Duration::from_secs(60);
/// Keys made at run time, revoked ones included until room is needed.
pub const MADE_KEYS_MAX: usize = 100_000;
/// Id of a key made at run time. Bytes.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// How long the old secret goes on working after a rotation, unless the operator says otherwise.
pub const ROTATION_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The longest such time: two secrets for one key are meant for a change, not for life.
pub const ROTATION_GRACE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// Issuers of tokens (`[[jwt]]`).
pub const ISSUERS_MAX: usize = 16;
/// A token in a request. Bytes (Claude Code takes no longer one from a helper, contract.md §2.1).
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Verified tokens a shard remembers. Beyond it those not used lately are verified again.
pub const TOKENS_KEPT_MAX: usize = 8192;
/// What a shard remembers of one token, at most, names and tables included. Bytes.
pub const TOKEN_KEPT_BYTES: usize = 2048;
/// Keys that a token without a usable `kid` is tried with.
pub const TOKEN_KEYS_TRIED_MAX: usize = 8;
/// An issuer's keys that are younger than this need not be fetched again for a token they do not fit.
pub const TOKEN_KEYS_FRESH: Duration = Duration::from_secs(15);
/// Keys in a published set.
pub const JWKS_KEYS_MAX: usize = 64;
/// A published set of keys. Bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Fetching a published set, from the first packet to the last byte.
pub const JWKS_FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Fetches of one set that tokens with unknown keys can cause at once.
pub const JWKS_WANTED_BURST: u32 = 4;
/// After those, one more each time this is over.
pub const JWKS_WANTED_EVERY: Duration = Duration::from_secs(15);
/// How long the client of a request that a revocation ends gets to take the news.
pub const REVOKED_LEAVE: Duration = Duration::from_millis(500);

const _: () = assert!(LITTLE_BUFFER_BYTES < SMALL_BUFFER_BYTES && SMALL_BUFFER_BYTES < BULK_BUFFER_BYTES);
const _: () = assert!(HEAD_BYTES_MAX <= BULK_BUFFER_BYTES && UPSTREAM_HEAD_BYTES_MAX <= BULK_BUFFER_BYTES);
const _: () = assert!(RATE_WAIT.as_millis() >= 3 * TICK.as_millis(), "a recall is answered at the next tick");
const _: () = assert!(FIRST_SIGHT_SESSIONS_MAX < FIRST_SIGHT_MAX && FIRST_SIGHT_SESSIONS_MAX <= SESSIONS_KEPT_MAX / 2);
const _: () = assert!(STANDINGS_MAX <= FIRST_SIGHT_SESSIONS_MAX);
const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(PIPE_BYTES_MAX >= 2 * BULK_BUFFER_BYTES && PIPE_BYTES_MAX <= REPLAY_BYTES_MAX);
const _: () = assert!(BULK_BUFFER_BYTES < BODY_READ_BYTES_MAX && BODY_READ_BYTES_MAX <= PIPE_BYTES_MAX);
const _: () = assert!(BODY_LANE_SPARE * 2 <= BODY_LANE_ENTRIES && BODY_CHUNK_BYTES < BULK_BUFFER_BYTES);
const _: () = assert!(
    BODY_LANE_BYTES_MAX / BODY_CHUNK_BYTES <= BODY_LANE_ENTRIES - BODY_LANE_SPARE,
    "bytes run out before entries"
);
const _: () =
    assert!(BATCH_BODY_BYTES_MAX * 2 <= REPLAY_BYTES_MAX as u64, "a batch is kept whole until it is admitted");
const _: () = assert!(SIGNED_BODY_BYTES_MAX * 4 <= REPLAY_BYTES_MAX as u64, "some signed bodies fit at once");
const _: () = assert!(JOURNAL_RING_SPARE * 4 <= JOURNAL_RING_ENTRIES);
const _: () = assert!(
    2 * (STREAMS_MAX + QUEUE_MAX) + JOURNAL_RING_SPARE <= JOURNAL_RING_ENTRIES,
    "whoever waits fairly must not find the journal full instead"
);
const _: () = assert!(USAGE_RAW_BYTES_MAX <= USAGE_CAPTURE_BYTES_MAX, "only what was captured can be kept");
const _: () = assert!(TARGETS_MAX <= 64, "a request remembers the targets it has tried in 64 bits");
const _: () = assert!(KEPT_ANSWER_BYTES_MAX < BULK_BUFFER_BYTES);
const _: () = assert!(TOKEN_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(JWKS_WANTED_EVERY.as_secs() <= TOKEN_KEYS_FRESH.as_secs(), "a stale set may be fetched at once");
const _: () = assert!(HEADERS_MAX <= 128, "the parser's own table has 128 places");

/// What the operator may set (`[limits]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request body. Bytes.
    pub body_bytes_max: u64,
    /// Request head. Bytes.
    pub head_bytes_max: usize,
    /// From the first byte of a head to its last; also the TLS handshake.
    pub head_timeout: Duration,
    /// The whole request body.
    pub body_timeout: Duration,
    /// Between requests on a kept connection.
    pub keep_alive_timeout: Duration,
    /// TCP and TLS to the upstream.
    pub connect_timeout: Duration,
    /// From the request being sent to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// No byte in either direction while an answer streams.
    pub idle_timeout: Duration,
    /// A whole exchange.
    pub stream_max_timeout: Duration,
    /// Client connections per shard.
    pub connections_max: usize,
    /// Requests with a place on a shard.
    pub streams_max: usize,
    /// Requests that may wait for one, and for one at each upstream that takes so many at once.
    pub queue_max: usize,
    /// How long they wait at most.
    pub queue_wait: Duration,
    /// What is turned away before a shard is full.
    pub shedding: Shedding,
    /// What becomes of a request that is asked again while it runs.
    pub duplicates: Duplicates,
    /// How long a drain waits for running streams.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 * 1024 * 1024,
            head_bytes_max: HEAD_BYTES_MAX,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(300),
            keep_alive_timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            stream_max_timeout: Duration::from_secs(3600),
            connections_max: 16 * 1024,
            streams_max: STREAMS_MAX,
            queue_max: QUEUE_MAX,
            queue_wait: Duration::from_secs(5),
            shedding: Shedding::default(),
            duplicates: Duplicates::Off,
            drain_timeout: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// Requests on a shard, those that wait and those that are being refused among them: beyond it nobody is asked who it is.
    pub fn running_max(&self) -> usize {
        self.streams_max + self.queue_max + self.streams_max / REFUSED_AT_ONCE + REFUSED_AT_ONCE_MIN
    }
}

/// The longest head that a connection keeps until its next one, which will begin alike.
pub const LAST_HEAD_BYTES_MAX: usize = 2048;

/// Things of a kind that a shard keeps for its next requests (`Spare`), at most: after a burst the rest goes back.
pub const SPARE_MAX: usize = 64;

/// The most a shard's buffers can take, in bytes: each owner has its line.
pub fn shard_bytes_max(limits: &Limits) -> u64 {
    let mut sum: u64 = 0;
    let running_max = limits.running_max();
    // Every connection: the head, or the first bytes of the next one, and the last head.
    sum += limits.connections_max as u64 * (SMALL_BUFFER_BYTES + LAST_HEAD_BYTES_MAX) as u64;
    // A head that outgrew its first buffer; such connections are few, but all could.
    sum += running_max as u64 * limits.head_bytes_max as u64;
    // Per running request: the pipe from client to upstream, one bulk buffer for the answer, our own head.
    sum += running_max as u64 * (PIPE_BYTES_MAX + BULK_BUFFER_BYTES + SMALL_BUFFER_BYTES) as u64;
    // Per running request between two formats: an event that is not whole yet, and once more in the other format. Nearly all
    // events are some hundred bytes; a sixteenth of the requests may have one as large as they come.
    sum += running_max as u64 / 16 * (3 * BRIDGED_EVENT_BYTES_MAX) as u64;
    // Batches: a page of them, or the line of results that is being read. Few requests are of that kind.
    sum += running_max as u64 / 64 * RESULT_LINE_BYTES_MAX.max(2 * OBJECT_ANSWER_BYTES_MAX) as u64;
    // Per running request: the first and the last usage object as they came, and both together for the record.
    sum += running_max as u64 * (4 * USAGE_RAW_BYTES_MAX) as u64;
    // Records on their way to the journal, each with its usage as it came.
    sum += (JOURNAL_RING_ENTRIES * USAGE_RAW_BYTES_MAX) as u64;
    // Bodies on their way to their store, and per running request what is gathered of both.
    sum += BODY_LANE_BYTES_MAX as u64 + running_max as u64 * (2 * BODY_CHUNK_BYTES) as u64;
    // Tokens that have been verified.
    sum += (TOKENS_KEPT_MAX * TOKEN_KEPT_BYTES) as u64;
    // Bodies kept for a retry.
    sum += REPLAY_BYTES_MAX as u64;
    // What requests have done with: a scanner with what it captured, a head, and the list of a head's lines.
    sum += (SPARE_MAX * (USAGE_CAPTURE_BYTES_MAX + MODEL_BYTES_MAX + STICKY_BYTES_MAX + 64 * HEADERS_MAX)) as u64;
    sum += (SPARE_MAX * SMALL_BUFFER_BYTES) as u64;
    // Buffers waiting for their next use.
    sum += IDLE_BUFFER_BYTES_MAX as u64;
    sum
}
