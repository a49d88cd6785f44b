//! Tests named after what they prevent.

use super::*;
use crate::{
    control::changes::{Actor, Change, kinds},
    kernel::{
        ids::SnapshotVersion,
        keys::Principal,
        money::Nanos,
        names::Names,
        record::{Operation, Record, inline},
        snapshot::Snapshot,
        time::UnixMs,
        usage::{Usage, UsageSource},
    },
};
use std::sync::Arc;

const MODEL: &str = "claude-sonnet-4-6";
/// What a token costs more when it is written for five minutes than when it is read, nano-dollars.
const MORE: i64 = 3750 - 300;

fn book() -> (CacheHealth, Arc<Names>) {
    let names = Arc::new(Names::default());
    let snapshot = Arc::new(Snapshot::of_rules(1, Default::default(), Arc::default()));
    (CacheHealth::new(Arc::new(move || snapshot.clone()), names.clone()), names)
}

/// A turn that began at that second, by that version of the configuration.
fn turn(names: &Names, second: u64, version: u64, upstream: &str, read: u64, written: u64) -> Record {
    Record {
        principal: Some(names.principal(&Principal { team: "platform".into(), ..Principal::default() })),
        session: inline(b"session-1"),
        operation: Operation::Messages,
        model_requested: inline(MODEL.as_bytes()),
        model_served: inline(MODEL.as_bytes()),
        upstream: Some(names.name(upstream)),
        started_at: UnixMs(second * 1000),
        ended_at: UnixMs(second * 1000 + 500),
        config_version: SnapshotVersion(version),
        usage: Usage { input: 4, cache_read: read, cache_write_5m: written, ..Usage::default() },
        usage_source: UsageSource::Reported,
        ..Record::default()
    }
}

fn reload(second: u64) -> Change {
    Change::new(kinds::RELOAD, &Actor::SIGNAL, "", UnixMs(second * 1000))
}

#[test]
fn a_cache_that_a_reload_lost_is_not_seen_or_counted_twice() {
    let (mut book, names) = book();
    assert_eq!(book.apply(&turn(&names, 10, 1, "a", 0, 1000)), None);
    assert_eq!(book.apply(&turn(&names, 20, 1, "a", 1000, 200)), None);
    book.changed(&reload(25));
    let loss = book.apply(&turn(&names, 30, 2, "b", 0, 1300));
    assert_eq!(loss, Some(Loss { cause: Cause::Reload, tokens: 1200, cost: Nanos(1200 * MORE) }));
    assert_eq!(book.apply(&turn(&names, 40, 2, "b", 1300, 100)), None);
    let view = serde_json::to_value(CacheHealthView::of(&book)).unwrap();
    let row = &view["data"][0];
    assert_eq!((&row["cause"], &row["sessions"], &row["dropped"]), (&"reload".into(), &1.into(), &1.into()), "{view}");
    assert_eq!((row["hit_rate_before"].as_f64(), row["hit_rate_after"].as_f64()), (Some(0.831), Some(0.0)));
    assert_eq!((&row["lost_tokens"], &row["lost_usd"]), (&1200.into(), &"0.004140000".into()));
    assert_eq!(row["by_team_and_model"][0]["team"], "platform");
    assert_eq!(view["data"][1]["sessions"], 0, "nothing moved without a reload");
}

#[test]
fn what_no_change_did_is_blamed_on_one() {
    let (mut book, names) = book();
    book.apply(&turn(&names, 10, 1, "a", 0, 1000));
    // Without any change the provider or the client is at fault.
    assert_eq!(book.apply(&turn(&names, 20, 1, "a", 0, 1000)), None);
    // A key was made: a new version, but no reload.
    assert_eq!(book.apply(&turn(&names, 30, 2, "a", 0, 1000)), None);
    // A cache that would have been gone by itself.
    book.changed(&reload(40));
    assert_eq!(book.apply(&turn(&names, 30 + 301, 3, "a", 0, 1000)), None);
    // A reload that did no harm, and one that was not done after all.
    book.changed(&reload(340));
    assert_eq!(book.apply(&turn(&names, 341, 4, "a", 1000, 50)), None);
    let undone = reload(350);
    book.changed(&undone);
    book.changed(&undone.undone("no", UnixMs(350_500)));
    assert_eq!(book.apply(&turn(&names, 351, 5, "a", 0, 1100)), None);
    // A prompt that was compacted.
    book.changed(&reload(360));
    assert_eq!(book.apply(&turn(&names, 361, 6, "a", 0, 90)), None);
    let view = serde_json::to_value(CacheHealthView::of(&book)).unwrap();
    let dropped: Vec<_> = view["data"].as_array().unwrap().iter().map(|row| row["dropped"].as_u64()).collect();
    assert_eq!(dropped, [Some(0); 4], "{view}");
}

#[test]
fn a_failover_that_cost_a_cache_is_not_told_from_a_reload() {
    let (mut book, names) = book();
    book.apply(&turn(&names, 10, 1, "a", 0, 1000));
    let loss = book.apply(&turn(&names, 20, 1, "b", 0, 1000));
    assert_eq!(loss, Some(Loss { cause: Cause::Moved, tokens: 1000, cost: Nanos(1000 * MORE) }));
    // Other agents and classes of the session have prompts of their own.
    let mut other = turn(&names, 30, 1, "c", 0, 1000);
    other.agent = inline(b"agent-7");
    assert_eq!(book.apply(&other), None);
    let mut estimated = turn(&names, 40, 1, "d", 0, 1000);
    estimated.usage_source = UsageSource::Estimated;
    assert_eq!((book.apply(&estimated), book.sessions()), (None, 2));
}

#[test]
fn sessions_and_teams_without_end_fill_the_memory() {
    let (mut book, names) = book();
    for n in 0..ROWS_MAX + 50 {
        for (second, upstream) in [(10, "a"), (20, "b")] {
            let mut record = turn(&names, second, 1, upstream, 0, 1000);
            record.principal = Some(names.principal(&Principal { team: format!("team-{n}"), ..Principal::default() }));
            book.apply(&record);
        }
    }
    assert_eq!(book.moved.rows.len(), ROWS_MAX + 1);
    assert_eq!(book.moved.rows.values().map(|row| row.dropped).sum::<u64>(), book.moved.all.dropped);
    for _ in 0..CHANGES_KEPT_MAX + 10 {
        book.changed(&reload(100));
    }
    assert_eq!(book.reloads.len(), CHANGES_KEPT_MAX);
}
