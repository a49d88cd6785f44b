//! Which changes are asked for.

use super::{CHANGES_KEPT_MAX, Change, kinds};
use crate::control::ledger::parse_time;

/// Changes in an answer, unless the question says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// A question about changes. Everything given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Changes in the answer, at most.
    pub limit: usize,
    /// One kind, or a group of kinds by what stands before the dot: `key.create`, `key`.
    pub kind: Option<String>,
    /// One administrator.
    pub who: Option<String>,
    /// One subject.
    pub subject: Option<String>,
    /// Decided at or after this Unix second.
    pub since: Option<i64>,
    /// Decided before this Unix second.
    pub until: Option<i64>,
}

impl Default for ChangeFilter {
    fn default() -> Self {
        Self { limit: LIMIT_DEFAULT, kind: None, who: None, subject: None, since: None, until: None }
    }
}

impl ChangeFilter {
    /// The keys it takes.
    pub const KEYS: [&str; 6] = ["limit", "kind", "who", "subject", "since", "until"];

    /// Reads a query string's pairs; an error names what is allowed. An empty value is no condition.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs.iter().filter(|(key, value)| !value.is_empty() || !Self::KEYS.contains(&key.as_str()))
        {
            match key.as_str() {
                "limit" => filter.limit = limit_of(value)?,
                "kind" => filter.kind = Some(kind_of(value)?),
                "who" => filter.who = Some(value.clone()),
                "subject" => filter.subject = Some(value.clone()),
                // A `+` that was not escaped has become a space on its way here.
                "since" => filter.since = Some(time_of(key, &value.replace(' ', "+"))?),
                "until" => filter.until = Some(time_of(key, &value.replace(' ', "+"))?),
                other => {
                    return Err(format!("unknown query key `{other}`; changes are found by {}", Self::KEYS.join(", ")));
                }
            }
        }
        Ok(filter)
    }

    /// Does everything asked for match this change? The limit is the caller's business.
    pub fn takes(&self, change: &Change) -> bool {
        let wanted = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|want| want == have);
        let group = change.kind.split_once('.').map_or("", |(group, _)| group);
        (wanted(&self.kind, &change.kind) || wanted(&self.kind, group))
            && wanted(&self.who, &change.who)
            && wanted(&self.subject, &change.subject)
            && self.since.is_none_or(|since| change.at.seconds() >= since)
            && self.until.is_none_or(|until| change.at.seconds() < until)
    }
}

fn limit_of(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=CHANGES_KEPT_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit: `{value}` is not a number from 1 to {CHANGES_KEPT_MAX}"))
}

fn kind_of(value: &str) -> Result<String, String> {
    let known = kinds::ALL.into_iter().any(|kind| kind == value || kind.starts_with(&format!("{value}.")));
    known.then(|| value.to_owned()).ok_or_else(|| format!("kind: `{value}` is none of {}", kinds::ALL.join(", ")))
}

fn time_of(key: &str, value: &str) -> Result<i64, String> {
    parse_time(value).map_err(|error| format!("{key}: {error}"))
}
