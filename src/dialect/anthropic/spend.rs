//! `GET /api/oauth/usage`: what Claude Code shows of a caller's budgets in `/usage` (contract.md §2.4). Money in whole cents.

use super::super::answer::Answer;
use crate::kernel::{money::Nanos, time::UnixMs, window::Period};
use serde_json::{Value, json};

const NANOS_PER_CENT: i64 = 10_000_000;

/// One budget of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// How often it starts anew.
    pub period: Period,
    /// The cap.
    pub amount: Nanos,
    /// What has been spent.
    pub spent: Nanos,
    /// When it starts anew, Unix seconds; the same second as in the usage-limit headers.
    pub resets_at: Option<i64>,
}

impl Cap {
    /// The share that is spent, 0 to 100.
    fn percent(&self) -> i64 {
        let share = i128::from(self.spent.0.max(0)) * 100 / i128::from(self.amount.0.max(1));
        share.min(100) as i64
    }
}

/// The answer: of several budgets for a period, the fullest is shown. A budget that never resets has no group here, and
/// spending that no budget counts is not known at this door.
pub fn usage(caps: &[Cap]) -> Answer {
    let fullest = |period| caps.iter().filter(|cap| cap.period == period).max_by_key(|cap| cap.percent());
    let [daily, weekly, monthly] = [Period::Daily, Period::Weekly, Period::Monthly].map(fullest);
    let limits: Vec<Value> = [monthly, weekly, daily].into_iter().flatten().map(limit).collect();
    let body = json!({
        "extra_usage": {
            "is_enabled": true,
            "monthly_limit": monthly.map(|cap| cents(cap.amount)),
            "used_credits": monthly.map_or(0, |cap| cents(cap.spent)),
            "utilization": monthly.map(Cap::percent),
            "currency": "USD",
            "daily": window(daily),
            "weekly": window(weekly),
        },
        "limits": limits,
    });
    Answer::json(200, body.to_string().into_bytes()).with("cache-control", "no-store")
}

fn window(cap: Option<&Cap>) -> Value {
    json!({
        "limit": cap.map(|cap| cents(cap.amount)),
        "used_credits": cap.map_or(0, |cap| cents(cap.spent)),
        "utilization": cap.map(Cap::percent),
    })
}

fn limit(cap: &Cap) -> Value {
    json!({
        "kind": "spend",
        "group": cap.period.as_str(),
        "percent": cap.percent(),
        "resets_at": cap.resets_at.map(|second| UnixMs(second.max(0) as u64 * 1000).rfc3339()),
        "severity": "normal",
        "is_active": true,
    })
}

/// Whole cents, rounded down: a cap that is not reached never looks reached.
fn cents(money: Nanos) -> i64 {
    money.0.max(0) / NANOS_PER_CENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(caps: &[Cap]) -> Value {
        let answer = usage(caps);
        assert!(answer.headers.contains(&("cache-control", "no-store".to_owned())));
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn dollars_are_taken_for_cents_or_an_empty_budget_hides_a_full_one() {
        let cap = |period, amount: i64, spent: i64| Cap {
            period,
            amount: Nanos(amount * 1_000_000_000),
            spent: Nanos(spent * 1_000_000_000),
            resets_at: (period != Period::Total).then_some(1_786_147_200),
        };
        let told = body(&[
            cap(Period::Monthly, 1000, 10),
            cap(Period::Monthly, 50, 20),
            cap(Period::Daily, 5, 7),
            cap(Period::Total, 1, 1),
        ]);
        let extra = &told["extra_usage"];
        assert_eq!(
            (&extra["monthly_limit"], &extra["used_credits"], &extra["utilization"]),
            (&5000.into(), &2000.into(), &40.into())
        );
        assert_eq!(extra["daily"], json!({ "limit": 500, "used_credits": 700, "utilization": 100 }));
        let row = |group, percent| {
            json!({ "kind": "spend", "group": group, "percent": percent, "resets_at": "2026-08-08T00:00:00.000Z",
                "severity": "normal", "is_active": true })
        };
        assert_eq!(told["limits"], json!([row("monthly", 40), row("daily", 100)]));
    }

    #[test]
    fn a_caller_without_a_budget_is_shown_one() {
        let told = body(&[]);
        assert_eq!((&told["limits"], &told["extra_usage"]["monthly_limit"]), (&json!([]), &Value::Null));
        assert_eq!(told["extra_usage"]["weekly"], json!({ "limit": null, "used_credits": 0, "utilization": null }));
        assert_eq!(told["extra_usage"]["utilization"], Value::Null);
    }
}
