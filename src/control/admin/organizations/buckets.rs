//! Time cut into buckets, and buckets into pages.

use super::{cursor::Cursor, error::ApiError, params::Params};
use crate::{
    control::ledger::{Dimension, LedgerImage, UsageQuery, UsageRow},
    kernel::time::UnixMs,
};
use serde::Serialize;
use std::collections::HashMap;

/// How wide a bucket is, and how many are on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width {
    pub seconds: i64,
    pub dimension: Dimension,
    limit: usize,
    limit_max: usize,
}

/// The widths of the usage report, with its own limits.
pub(super) const WIDTHS: [(&str, Width); 3] = [
    ("1d", Width { seconds: 86_400, dimension: Dimension::Day, limit: 7, limit_max: 31 }),
    ("1h", Width { seconds: 3600, dimension: Dimension::Hour, limit: 24, limit_max: 168 }),
    ("1m", Width { seconds: 60, dimension: Dimension::Minute, limit: 60, limit_max: 1440 }),
];

/// The buckets of one page, in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub width: Width,
    /// Beginning of the first bucket.
    pub first: i64,
    /// End of the last one.
    pub end: i64,
    /// Beginning of the next page's.
    pub next: Option<i64>,
}

/// A bucket with what is in it.
#[derive(Serialize)]
pub(super) struct Bucket<T> {
    starting_at: String,
    ending_at: String,
    results: Vec<T>,
}

/// A page of them.
#[derive(Serialize)]
pub(super) struct Report<T> {
    data: Vec<Bucket<T>>,
    has_more: bool,
    next_page: Option<String>,
}

/// When, and how much of it at once: what every report is asked.
pub(super) struct Span {
    width: Width,
    begin: i64,
    ending_at: Option<i64>,
    limit: usize,
    page: Option<String>,
}

impl Span {
    /// Reads `starting_at`, `ending_at`, `bucket_width`, `limit` and `page`.
    pub fn read(params: &mut Params, widths: &[(&'static str, Width)]) -> Result<Self, ApiError> {
        let wanted = params.choices("bucket_width", widths)?;
        let width = match wanted.as_slice() {
            [] => widths[0].1,
            [width] => *width,
            _ => return Err(ApiError::invalid("bucket_width: give it once")),
        };
        let Some(starting_at) = params.moment("starting_at")? else {
            return Err(ApiError::invalid(
                "starting_at: is missing; give an RFC 3339 timestamp such as 2026-11-01T00:00:00Z",
            ));
        };
        Ok(Self {
            width,
            begin: floor(starting_at, width.seconds),
            ending_at: params.moment("ending_at")?,
            limit: params.limit(width.limit, width.limit_max)?,
            page: params.one("page")?,
        })
    }

    /// What of this the answer depends on, besides page and limit.
    pub fn question(&self) -> impl std::fmt::Debug + use<> {
        (self.width.seconds, self.begin, self.ending_at)
    }

    /// The buckets to be shown. Without an end they go on to the one that `now_seconds` is in; later ones do not exist.
    pub fn page(&self, cursor: &Cursor, now_seconds: i64) -> Result<Page, ApiError> {
        let seconds = self.width.seconds;
        let newest = floor(now_seconds, seconds) + seconds;
        let end = self.ending_at.map_or(newest, |at| floor(at, seconds).min(newest));
        if self.ending_at.is_some_and(|at| at <= self.begin) {
            return Err(ApiError::invalid("ending_at: must be after starting_at"));
        }
        let first = match &self.page {
            None => self.begin,
            Some(token) => {
                let place = cursor.place(token)?.parse::<i64>().ok();
                let inside = place.filter(|at| at % seconds == 0 && (self.begin..end.max(self.begin + 1)).contains(at));
                inside.ok_or_else(|| ApiError::invalid("page: this page is not in the time asked for"))?
            }
        };
        let last = first.saturating_add(seconds * self.limit as i64).min(end).max(first);
        Ok(Page { width: self.width, first, end: last, next: (last < end).then_some(last) })
    }
}

impl Page {
    /// Usage in these buckets; an error where the ledger no longer knows the past so finely.
    pub fn usage(
        &self,
        ledger: &LedgerImage,
        by: &[Dimension],
        only: Vec<(Dimension, Vec<String>)>,
    ) -> Result<HashMap<i64, Vec<UsageRow>>, ApiError> {
        self.refuse_what_is_folded(ledger)?;
        let mut group_by = vec![self.width.dimension];
        group_by.extend(by.iter().copied().filter(|dimension| *dimension != self.width.dimension));
        let query = UsageQuery { group_by, since: Some(self.first), until: Some(self.end), only };
        let mut found: HashMap<i64, Vec<UsageRow>> = HashMap::new();
        for row in ledger.usage(&query) {
            let at = row.name(self.width.dimension).and_then(|text| crate::control::ledger::parse_time(text).ok());
            found.entry(at.unwrap_or_default()).or_default().push(row);
        }
        Ok(found)
    }

    fn refuse_what_is_folded(&self, ledger: &LedgerImage) -> Result<(), ApiError> {
        let since = match self.width.dimension {
            Dimension::Minute => ledger.minutes_since(),
            Dimension::Hour => ledger.hours_since(),
            _ => return Ok(()),
        };
        if self.first >= since {
            return Ok(());
        }
        let (unit, wider) = if self.width.dimension == Dimension::Minute { ("minute", "1h") } else { ("hour", "1d") };
        Err(ApiError::invalid(format!(
            "starting_at: usage by {unit} is kept from {} on; ask for that, or for bucket_width={wider}",
            text(since)
        )))
    }

    /// The report: every bucket of the page, empty ones too.
    pub fn report<T>(&self, cursor: &Cursor, mut results: impl FnMut(i64) -> Vec<T>) -> Report<T> {
        let starts = (0..).map(|n| self.first + n * self.width.seconds).take_while(|start| *start < self.end);
        let bucket = |start: i64| Bucket {
            starting_at: text(start),
            ending_at: text(start + self.width.seconds),
            results: results(start),
        };
        Report {
            data: starts.map(bucket).collect(),
            has_more: self.next.is_some(),
            next_page: self.next.map(|next| cursor.token(&next.to_string())),
        }
    }
}

fn floor(at: i64, seconds: i64) -> i64 {
    at.div_euclid(seconds) * seconds
}

/// RFC 3339 without a fraction, as the reports have it.
pub(super) fn text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| UnixMs(seconds.max(0) as u64 * 1000).rfc3339(), |at| at.to_string())
}
