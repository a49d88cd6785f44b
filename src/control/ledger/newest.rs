//! The newest records, as they came.

use super::{
    NEWEST_RECORDS_MAX, RecordView,
    query::{time_of, unknown_key},
};
use crate::kernel::{
    names::Names,
    record::{Outcome, Record},
    time::UnixMs,
};
use std::{collections::VecDeque, sync::Arc};

/// Records in an answer, unless the question says otherwise.
const LIMIT_DEFAULT: usize = 100;
const OUTCOMES: [Outcome; 5] =
    [Outcome::Completed, Outcome::ClientAborted, Outcome::UpstreamFailed, Outcome::Refused, Outcome::GatewayFailed];

/// A question about records. Everything given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFilter {
    /// Records in the answer, at most.
    pub limit: usize,
    /// One request.
    pub request_id: Option<String>,
    /// One key.
    pub key: Option<String>,
    /// One user.
    pub user: Option<String>,
    /// One team.
    pub team: Option<String>,
    /// One project.
    pub project: Option<String>,
    /// One session.
    pub session: Option<String>,
    /// One model, asked for or served.
    pub model: Option<String>,
    /// One status.
    pub status: Option<u16>,
    /// One outcome.
    pub outcome: Option<Outcome>,
    /// Begun at or after this Unix second.
    pub since: Option<i64>,
    /// Begun before this Unix second.
    pub until: Option<i64>,
}

impl Default for RecordFilter {
    fn default() -> Self {
        Self {
            limit: LIMIT_DEFAULT,
            request_id: None,
            key: None,
            user: None,
            team: None,
            project: None,
            session: None,
            model: None,
            status: None,
            outcome: None,
            since: None,
            until: None,
        }
    }
}

impl RecordFilter {
    /// The keys it takes.
    pub const KEYS: [&str; 12] = [
        "limit",
        "request_id",
        "key",
        "user",
        "team",
        "project",
        "session",
        "model",
        "status",
        "outcome",
        "since",
        "until",
    ];

    /// Reads a query string's pairs; an error names what is allowed. An empty value is no condition.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            let text = (!value.is_empty()).then(|| value.clone());
            match key.as_str() {
                "limit" => filter.limit = limit_of(value)?,
                "request_id" => filter.request_id = text,
                "key" => filter.key = text,
                "user" => filter.user = text,
                "team" => filter.team = text,
                "project" => filter.project = text,
                "session" => filter.session = text,
                "model" => filter.model = text,
                "status" => filter.status = text.as_deref().map(status_of).transpose()?,
                "outcome" => filter.outcome = text.as_deref().map(outcome_of).transpose()?,
                "since" => filter.since = time_of(key, value)?,
                "until" => filter.until = time_of(key, value)?,
                other => return Err(unknown_key(other, &Self::KEYS)),
            }
        }
        Ok(filter)
    }

    /// Does everything asked for match this record? The limit is the caller's business.
    pub fn takes(&self, record: &Record, names: &Names) -> bool {
        let wanted = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|want| want == have);
        if self.outcome.is_some_and(|outcome| outcome != record.outcome)
            || self.since.is_some_and(|since| record.started_at.seconds() < since)
            || self.until.is_some_and(|until| record.started_at.seconds() >= until)
            || self.status.is_some_and(|status| status != record.status)
            || !wanted(&self.session, &record.session)
            || !(wanted(&self.model, &record.model_served) || wanted(&self.model, &record.model_requested))
            || self.request_id.as_ref().is_some_and(|id| *id != record.request_id.to_string())
        {
            return false;
        }
        if self.key.is_none() && self.user.is_none() && self.team.is_none() && self.project.is_none() {
            return true;
        }
        let principal = record.principal.map(|id| names.principal_of(id)).unwrap_or_default();
        wanted(&self.key, &principal.key)
            && wanted(&self.user, &principal.user)
            && wanted(&self.team, &principal.team)
            && wanted(&self.project, &principal.project)
    }
}

fn limit_of(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=NEWEST_RECORDS_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit: `{value}` is not a number from 1 to {NEWEST_RECORDS_MAX}"))
}

fn status_of(value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("status: `{value}` is no HTTP status; 0 finds requests that got no answer"))
}

fn outcome_of(value: &str) -> Result<Outcome, String> {
    OUTCOMES
        .into_iter()
        .find(|outcome| outcome.as_str() == value)
        .ok_or_else(|| format!("outcome: `{value}` is none of {}", OUTCOMES.map(Outcome::as_str).join(", ")))
}

/// The last records, oldest first.
#[derive(Clone)]
pub(super) struct Newest {
    records: VecDeque<Arc<Record>>,
    records_max: usize,
}

impl Newest {
    pub fn new(records_max: usize) -> Self {
        Self { records: VecDeque::new(), records_max }
    }

    pub fn push(&mut self, record: Arc<Record>) {
        if self.records.len() >= self.records_max {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().map(|record| record.as_ref())
    }

    /// Forgets what ended before a moment.
    pub fn forget_before(&mut self, moment: UnixMs) {
        self.records.retain(|record| record.ended_at >= moment);
    }

    pub fn find(&self, filter: &RecordFilter, names: &Names) -> Vec<RecordView> {
        let found = self.records().rev().filter(|record| filter.takes(record, names));
        found.take(filter.limit).map(|record| RecordView::of(record, names)).collect()
    }
}
