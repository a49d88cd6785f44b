//! What can be asked of the ledger, read from a query string.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// What usage can be grouped by (interface.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The organisation; there is one.
    Org,
    /// The team of the caller.
    Team,
    /// The project of the caller.
    Project,
    /// The user.
    User,
    /// The key's id.
    Key,
    /// The Claude Code session.
    Session,
    /// The model that answered, or was asked for if none did.
    Model,
    /// The upstream that answered.
    Upstream,
    /// The day (UTC) the request began.
    Day,
    /// The hour (UTC) the request began.
    Hour,
    /// `standard` or `batch`.
    ServiceTier,
    /// `0-200k` or `200k-1M`: the tokens of the whole prompt, cached or not.
    ContextWindow,
    /// `global`, or `us` where the provider said so.
    InferenceGeo,
    /// `standard` or `fast`.
    Speed,
    /// The minute (UTC) the request began; only the newest are kept, so only reports that say so ask for it.
    Minute,
}

impl Dimension {
    /// Those that can be asked for by name.
    pub const ALL: [Self; 14] = [
        Self::Org,
        Self::Team,
        Self::Project,
        Self::User,
        Self::Key,
        Self::Session,
        Self::Model,
        Self::Upstream,
        Self::Day,
        Self::Hour,
        Self::ServiceTier,
        Self::ContextWindow,
        Self::InferenceGeo,
        Self::Speed,
    ];

    /// The name in queries and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Team => "team",
            Self::Project => "project",
            Self::User => "user",
            Self::Key => "key",
            Self::Session => "session",
            Self::Model => "model",
            Self::Upstream => "upstream",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::ServiceTier => "service_tier",
            Self::ContextWindow => "context_window",
            Self::InferenceGeo => "inference_geo",
            Self::Speed => "speed",
            Self::Minute => "minute",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|d| d.as_str() == text).ok_or_else(|| {
            let allowed = Self::ALL.map(Self::as_str).join(", ");
            format!("cannot group by `{text}`; group_by takes any of {allowed}, separated by commas")
        })
    }
}

/// A question about usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// By what, in this order; nothing means one total.
    pub group_by: Vec<Dimension>,
    /// Requests that began at or after this Unix second. Rows are hours: the hour it falls in counts whole.
    pub since: Option<i64>,
    /// Requests that began before this Unix second. Rows are hours: the hour it falls in counts whole.
    pub until: Option<i64>,
    /// Only where the name in a dimension is one of these; all conditions must hold.
    pub only: Vec<(Dimension, Vec<String>)>,
}

impl UsageQuery {
    /// The keys it takes.
    pub const KEYS: [&str; 3] = ["group_by", "since", "until"];

    /// Reads a query string's pairs; an error names what is allowed.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut query = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "group_by" => {
                    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                        let dimension = Dimension::parse(name)?;
                        if !query.group_by.contains(&dimension) {
                            query.group_by.push(dimension);
                        }
                    }
                }
                "since" => query.since = time_of(key, value)?,
                "until" => query.until = time_of(key, value)?,
                other => return Err(unknown_key(other, &Self::KEYS)),
            }
        }
        Ok(query)
    }
}

/// What to say of a query key that is not known.
pub(super) fn unknown_key(key: &str, allowed: &[&str]) -> String {
    format!("unknown query key `{key}`; this path takes {}", allowed.join(", "))
}

/// An empty value is no value: `since=&until=` asks for all time.
pub(super) fn time_of(key: &str, value: &str) -> Result<Option<i64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    // A `+` that was not escaped has become a space on its way here; in a time it can only have been the offset's sign.
    parse_time(&value.replace(' ', "+")).map(Some).map_err(|error| format!("{key}: {error}"))
}

/// Reads a moment as Unix seconds: `1763700000`, `2026-11-21` (midnight UTC) or `2026-11-21T08:00:00Z`.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_second());
    }
    // A civil date parses from longer texts too; only a plain date is meant.
    let midnight = (text.len() == 10).then(|| text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()).flatten();
    midnight.map(|z| z.timestamp().as_second()).ok_or_else(|| {
        format!("`{text}` is no time; write Unix seconds, a date such as 2026-11-21, or RFC 3339 such as 2026-11-21T08:00:00Z")
    })
}
