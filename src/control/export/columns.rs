//! The columns of a part, and how each is read off a record. Whoever adds a field to `RecordView` adds it here.

use crate::{
    control::ledger::{AttemptView, RecordView},
    kernel::record::Record,
};

/// The schema of all parts. Times are UTC microseconds, money is exact to the nano-dollar, what a request does not have is
/// null, as it is in JSON lines.
pub(super) const SCHEMA: &str = "message weir_request {
    required binary request_id (STRING);
    optional binary upstream_request_id (STRING);
    required int64 started_at (TIMESTAMP(MICROS,true));
    required int64 ended_at (TIMESTAMP(MICROS,true));
    optional binary key (STRING);
    optional binary user (STRING);
    optional binary team (STRING);
    optional binary project (STRING);
    optional binary session (STRING);
    optional binary agent (STRING);
    optional binary request_class (STRING);
    required binary format (STRING);
    required binary operation (STRING);
    optional binary model_requested (STRING);
    optional binary model_served (STRING);
    optional binary upstream (STRING);
    required int32 status (INTEGER(16,false));
    required binary outcome (STRING);
    optional binary refused_by (STRING);
    required boolean stream;
    required int64 request_bytes;
    required int64 response_bytes;
    required group usage {
        required int64 input;
        required int64 output;
        required int64 cache_read;
        required int64 cache_write_5m;
        required int64 cache_write_1h;
        required int64 web_search;
    }
    required binary usage_source (STRING);
    optional binary usage_raw (JSON);
    required int64 cost_usd (DECIMAL(18,9));
    required int64 reserved_usd (DECIMAL(18,9));
    optional binary price_version (STRING);
    required group attempts (LIST) {
        repeated group list {
            required group element {
                required binary upstream (STRING);
                required int32 status (INTEGER(16,false));
                required binary result (STRING);
                required int64 duration_us;
            }
        }
    }
    required int64 ttfb_us;
    required int64 duration_us;
    required int64 gateway_us;
    optional binary request_sha256 (STRING);
    optional binary response_sha256 (STRING);
    required binary body (STRING);
    required boolean request_cut;
    required boolean response_cut;
    optional binary duplicate_of (STRING);
    optional binary repeated_by (STRING);
    optional binary objects (STRING);
    optional binary object_event (STRING);
}";

/// Columns without a dictionary: nearly every value is a new one.
pub(super) const UNIQUE: [&[&str]; 8] = [
    &["request_id"],
    &["upstream_request_id"],
    &["started_at"],
    &["ended_at"],
    &["usage_raw"],
    &["request_sha256"],
    &["response_sha256"],
    &["duration_us"],
];

/// A record and what others see of it.
pub(super) struct Row<'a> {
    pub record: &'a Record,
    pub view: &'a RecordView,
}

/// How a column's value is read.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// A text that is always there.
    Text(for<'a> fn(&Row<'a>) -> &'a str),
    /// A text that may be absent.
    MaybeText(for<'a> fn(&Row<'a>) -> Option<&'a str>),
    /// Nano-dollars.
    Money(fn(&Row<'_>) -> i64),
    /// A time, a count, a duration; what is beyond `i64` is its largest value.
    Long(fn(&Row<'_>) -> u64),
    /// A status.
    Short(fn(&Row<'_>) -> u16),
    /// Yes or no.
    Flag(fn(&Row<'_>) -> bool),
    /// A text of each attempt.
    AttemptText(fn(&AttemptView) -> &str),
    /// A number of each attempt.
    AttemptLong(fn(&AttemptView) -> u64),
    /// A status of each attempt.
    AttemptShort(fn(&AttemptView) -> u16),
}

/// One for each leaf of `SCHEMA`, in its order.
pub(super) const COLUMNS: [(&str, Read); 49] = {
    use Read::{AttemptLong, AttemptShort, AttemptText, Flag, Long, MaybeText, Money, Short, Text};
    [
        ("request_id", Text(|r| &r.view.request_id)),
        ("upstream_request_id", MaybeText(|r| r.view.upstream_request_id.as_deref())),
        ("started_at", Long(|r| r.record.started_at.0.saturating_mul(1000))),
        ("ended_at", Long(|r| r.record.ended_at.0.saturating_mul(1000))),
        ("key", MaybeText(|r| r.view.key.as_deref())),
        ("user", MaybeText(|r| r.view.user.as_deref())),
        ("team", MaybeText(|r| r.view.team.as_deref())),
        ("project", MaybeText(|r| r.view.project.as_deref())),
        ("session", MaybeText(|r| r.view.session.as_deref())),
        ("agent", MaybeText(|r| r.view.agent.as_deref())),
        ("request_class", MaybeText(|r| r.view.request_class.as_deref())),
        ("format", Text(|r| r.view.format)),
        ("operation", Text(|r| r.view.operation)),
        ("model_requested", MaybeText(|r| r.view.model_requested.as_deref())),
        ("model_served", MaybeText(|r| r.view.model_served.as_deref())),
        ("upstream", MaybeText(|r| r.view.upstream.as_deref())),
        ("status", Short(|r| r.view.status)),
        ("outcome", Text(|r| r.view.outcome)),
        ("refused_by", MaybeText(|r| r.view.refused_by)),
        ("stream", Flag(|r| r.view.stream)),
        ("request_bytes", Long(|r| r.view.request_bytes)),
        ("response_bytes", Long(|r| r.view.response_bytes)),
        ("usage.input", Long(|r| r.view.usage.input)),
        ("usage.output", Long(|r| r.view.usage.output)),
        ("usage.cache_read", Long(|r| r.view.usage.cache_read)),
        ("usage.cache_write_5m", Long(|r| r.view.usage.cache_write_5m)),
        ("usage.cache_write_1h", Long(|r| r.view.usage.cache_write_1h)),
        ("usage.web_search", Long(|r| r.view.usage.web_search)),
        ("usage_source", Text(|r| r.view.usage_source.as_str())),
        // As the provider wrote it; the view has it parsed.
        ("usage_raw", MaybeText(|r| r.view.usage_raw.as_ref().and(r.record.usage_raw.as_deref()))),
        ("cost_usd", Money(|r| r.record.cost.0)),
        ("reserved_usd", Money(|r| r.record.reserved.0)),
        ("price_version", MaybeText(|r| r.view.price_version.as_deref())),
        ("attempts.list.element.upstream", AttemptText(|a| &a.upstream)),
        ("attempts.list.element.status", AttemptShort(|a| a.status)),
        ("attempts.list.element.result", AttemptText(|a| a.result)),
        ("attempts.list.element.duration_us", AttemptLong(|a| a.duration_us)),
        ("ttfb_us", Long(|r| r.view.ttfb_us)),
        ("duration_us", Long(|r| r.view.duration_us)),
        ("gateway_us", Long(|r| r.view.gateway_us)),
        ("request_sha256", MaybeText(|r| r.view.request_sha256.as_deref())),
        ("response_sha256", MaybeText(|r| r.view.response_sha256.as_deref())),
        ("body", Text(|r| r.view.body)),
        ("request_cut", Flag(|r| r.view.request_cut)),
        ("response_cut", Flag(|r| r.view.response_cut)),
        ("duplicate_of", MaybeText(|r| r.view.duplicate_of.as_deref())),
        ("repeated_by", MaybeText(|r| r.view.repeated_by.as_deref())),
        ("objects", MaybeText(|r| r.view.objects.as_deref())),
        ("object_event", MaybeText(|r| r.view.object_event)),
    ]
};
