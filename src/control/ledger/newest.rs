//! The newest records, as they came.

use super::{
    NEWEST_RECORDS_MAX, RecordView,
    packed::{PAGE_RECORDS, Page},
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

/// The last records, oldest first. Images share its pages; only the last one is still written.
#[derive(Clone)]
pub(super) struct Newest {
    pages: VecDeque<Arc<Page>>,
    /// Records of the first page that are forgotten already.
    gone: usize,
    /// Records that are not.
    kept: usize,
    records_max: usize,
    bytes_max: usize,
    /// Of all pages but the last.
    full_bytes: usize,
}

impl Newest {
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { pages: VecDeque::new(), gone: 0, kept: 0, records_max, bytes_max, full_bytes: 0 }
    }

    pub fn push(&mut self, record: &Record) {
        if self.pages.back().is_none_or(|page| page.len() >= PAGE_RECORDS) {
            let next = self.pages.back_mut().map_or_else(Page::default, |last| {
                self.full_bytes += last.bytes();
                let next = last.like();
                // One that an image has, too, keeps its room: a copy would be more.
                if let Some(last) = Arc::get_mut(last) {
                    last.close();
                }
                next
            });
            self.pages.push_back(Arc::new(next));
        }
        let Some(last) = self.pages.back_mut() else { return };
        Arc::make_mut(last).push(record);
        self.kept += 1;
        if self.kept > self.records_max {
            (self.kept, self.gone) = (self.kept - 1, self.gone + 1);
        }
        while self.full_bytes > self.bytes_max || self.pages.front().is_some_and(|first| self.gone >= first.len()) {
            self.drop_page();
        }
    }

    /// Forgets the first page.
    fn drop_page(&mut self) {
        let Some(first) = self.pages.pop_front() else { return };
        self.full_bytes = self.full_bytes.saturating_sub(first.bytes());
        self.kept = self.kept.saturating_sub(first.len().saturating_sub(self.gone));
        self.gone = 0;
    }

    pub fn records(&self) -> impl DoubleEndedIterator<Item = Record> {
        let gone = self.gone;
        self.pages.iter().enumerate().flat_map(move |(at, page)| {
            let first = if at == 0 { gone } else { 0 };
            (first..page.len()).filter_map(move |place| page.get(place))
        })
    }

    /// Forgets what ended before a moment.
    pub fn forget_before(&mut self, moment: UnixMs) {
        let mut left = Self::new(self.records_max, self.bytes_max);
        self.records().filter(|record| record.ended_at >= moment).for_each(|record| left.push(&record));
        *self = left;
    }

    pub fn find(&self, filter: &RecordFilter, names: &Names) -> Vec<RecordView> {
        let found = self.records().rev().filter(|record| filter.takes(record, names));
        found.take(filter.limit).map(|record| RecordView::of(&record, names)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ids::RequestId;

    fn record(n: usize) -> Record {
        Record { request_id: RequestId(n as u128), ended_at: UnixMs(n as u64), ..Record::default() }
    }

    fn kept(newest: &Newest) -> Vec<u64> {
        newest.records().map(|record| record.ended_at.0).collect()
    }

    #[test]
    fn other_records_than_the_newest_are_kept() {
        for records_max in [1, 2, PAGE_RECORDS - 1, PAGE_RECORDS, PAGE_RECORDS + 1, 3 * PAGE_RECORDS] {
            let mut newest = Newest::new(records_max, usize::MAX);
            for n in 0..5 * PAGE_RECORDS {
                newest.push(&record(n));
                assert!(newest.pages.len() <= records_max / PAGE_RECORDS + 2);
                if n % 97 == 0 || n % PAGE_RECORDS < 2 {
                    let first = (n + 1).saturating_sub(records_max);
                    assert_eq!(kept(&newest), (first as u64..=n as u64).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn an_image_follows_what_came_later_or_loses_what_went() {
        let mut newest = Newest::new(10, usize::MAX);
        (0..12).for_each(|n| newest.push(&record(n)));
        let image = newest.clone();
        (12..600).for_each(|n| newest.push(&record(n)));
        assert_eq!(kept(&image), (2..12).collect::<Vec<_>>());
        newest.forget_before(UnixMs(597));
        assert_eq!(kept(&newest), [597, 598, 599]);
    }

    #[test]
    fn large_records_take_all_memory() {
        let bytes_max = 1 << 20;
        let mut newest = Newest::new(usize::MAX, bytes_max);
        let large = Record { usage_raw: Some("x".repeat(4096).into()), ..Record::default() };
        for n in 0..4000 {
            newest.push(&Record { ended_at: UnixMs(n), ..large.clone() });
            let bytes: usize = newest.pages.iter().map(|page| page.bytes()).sum();
            assert!(bytes <= bytes_max + 2 * PAGE_RECORDS * 4500, "{bytes}");
        }
        let kept = kept(&newest);
        assert!(kept.len() < 1000 && kept.last() == Some(&3999), "{}", kept.len());
        assert_eq!((kept.len(), kept[0]), (newest.kept, 4000 - kept.len() as u64));
    }
}
