//! The book as the admin API shows it.

use super::book::{CacheHealth, Cause, Tallies, Tally};
use serde::Serialize;

/// What one change did to sessions that ran over it.
#[derive(Debug, Serialize)]
pub struct ChangeView {
    /// The change's id in the audit; none for upstreams that changed without one.
    change: Option<String>,
    /// `reload`, or `moved`.
    cause: &'static str,
    /// When it was decided.
    at: Option<String>,
    /// Who decided it.
    by: Option<String>,
    #[serde(flatten)]
    sums: TallyView,
    /// The same by team and model, the dearest first.
    by_team_and_model: Vec<RowView>,
}

#[derive(Debug, Serialize)]
struct RowView {
    team: String,
    model: String,
    #[serde(flatten)]
    sums: TallyView,
}

/// Turns compared with the ones before them.
#[derive(Debug, Serialize)]
struct TallyView {
    /// Sessions whose first turn after the change was compared with the one before.
    sessions: u64,
    /// Those that read less than half of what the turn before had left in the cache.
    dropped: u64,
    /// Tokens read from the cache over all tokens of the prompts; null without any.
    hit_rate_before: Option<f64>,
    hit_rate_after: Option<f64>,
    /// Tokens that should have been read from the cache.
    lost_tokens: u64,
    /// What they cost over what reading them would have.
    lost_usd: String,
}

/// The answer of `GET /admin/v1/cache-health`.
#[derive(Debug, Serialize)]
pub struct CacheHealthView {
    /// Reloads, the newest first; then what happened without one.
    data: Vec<ChangeView>,
    /// Sessions that are followed.
    sessions: usize,
    /// Sessions that were not followed, since there were too many.
    not_followed: u64,
}

impl CacheHealthView {
    /// What the book says now.
    pub fn of(book: &CacheHealth) -> Self {
        let reloads = book.reloads.iter().rev().map(|reload| ChangeView {
            change: Some(reload.id.to_string()),
            cause: Cause::Reload.as_str(),
            at: Some(reload.at.rfc3339()),
            by: Some(reload.who.clone()),
            sums: TallyView::of(&reload.told.all),
            by_team_and_model: rows(&reload.told),
        });
        let moved = ChangeView {
            change: None,
            cause: Cause::Moved.as_str(),
            at: None,
            by: None,
            sums: TallyView::of(&book.moved.all),
            by_team_and_model: rows(&book.moved),
        };
        let data = reloads.chain([moved]).collect();
        Self { data, sessions: book.sessions(), not_followed: book.forgotten }
    }
}

impl TallyView {
    fn of(tally: &Tally) -> Self {
        Self {
            sessions: tally.sessions,
            dropped: tally.dropped,
            hit_rate_before: share(tally.before),
            hit_rate_after: share(tally.after),
            lost_tokens: tally.lost_tokens,
            lost_usd: tally.lost.to_string(),
        }
    }
}

fn rows(told: &Tallies) -> Vec<RowView> {
    let mut rows: Vec<_> = told.rows.iter().collect();
    rows.sort_by(|a, b| (b.1.lost, a.0).cmp(&(a.1.lost, b.0)));
    let row = |((team, model), tally): (&(String, String), &Tally)| RowView {
        team: team.clone(),
        model: model.clone(),
        sums: TallyView::of(tally),
    };
    rows.into_iter().map(row).collect()
}

/// A share to three digits.
fn share((part, whole): (u64, u64)) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1000.0).round() / 1000.0)
}

/// A share for people to read.
pub(super) fn rate(of: (u64, u64)) -> String {
    share(of).map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
