//! What is said of changes in the audit's chain, and that it is said before they take effect.

use super::plane::Plane;
use crate::{
    control::{
        admin::{Raise, RaiseAsk, RaiseError},
        changes::{Actor, Change, ChangeLog, kinds},
        config::Config,
        journal::{ChangeDesk, NotRecorded, Receipt},
    },
    kernel::{
        account::{Account, Mode},
        time::UnixMs,
    },
    sys::clock,
};
use serde_json::json;
use std::{fmt::Display, sync::Arc};

impl Plane {
    /// Makes a change once the audit has it on disk; what cannot be made after all is said there too.
    pub fn change<T, E: Display>(
        &self,
        change: &Change,
        not_recorded: impl Fn(NotRecorded) -> E,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        // Held until it is made: a process that takes over must find it.
        let _here = self.here().ok_or(NotRecorded::HandedOver).map_err(&not_recorded)?;
        self.changes().record(change).map_err(not_recorded)?;
        make().inspect_err(|error| self.changes().undo(change, error))
    }

    /// Hands in a change that does not wait.
    pub fn submit(&self, change: &Change) -> Result<Receipt, NotRecorded> {
        self.changes().submit(change)
    }

    /// Raises a budget's current window. Shards see it with their next request, since accounts are shared.
    pub fn raise(self: &Arc<Self>) -> Raise {
        let plane = self.clone();
        Arc::new(move |ask, by| plane.raise_once(ask, by))
    }

    fn raise_once(&self, ask: &RaiseAsk, by: &Actor) -> Result<(Arc<Account>, Mode), RaiseError> {
        // One after the other, so that each says truly what was before it.
        let _turn = self.raising();
        let now = clock::unix();
        let account = self.account(ask, now).ok_or(RaiseError::NoSuchBudget)?;
        let before = account.amount();
        let change = Change::new(kinds::BUDGET_RAISE, by, format!("{} {}", ask.scope, ask.period), now)
            .before(&json!({ "amount_usd": before.to_string() }))
            .after(&json!({
                "amount_usd": before.plus(ask.amount).to_string(),
                "added_usd": ask.amount.to_string(),
                "scope": ask.scope,
                "period": ask.period,
                "resets_at": account.window.resets_at().map(|at| UnixMs(at.max(0) as u64 * 1000).rfc3339()),
            }));
        self.change(&change, RaiseError::NotRecorded, || self.apply_raise(ask, now))
    }
}

/// What the last process left in the audit.
pub(super) struct Left {
    /// The configuration it served by.
    digest: Option<String>,
    /// It ended in order; none if there was no process before this.
    in_order: Option<bool>,
    /// Requests of it that had to be closed now.
    closed_after_crash: usize,
    /// The side chain of a process that still finishes its streams.
    replaces: Option<String>,
}

impl Left {
    pub fn of(log: &ChangeLog, closed_after_crash: usize, replaces: Option<String>) -> Self {
        // One that is replaced has not ended.
        let in_order = log.last().filter(|_| replaces.is_none()).map(|last| last.kind == kinds::STOP);
        Self { digest: log.last_digest(), in_order, closed_after_crash, replaces }
    }
}

/// The gateway begins: a start that the audit cannot take is none.
pub(super) fn started(desk: &ChangeDesk, left: &Left, config: &Config, shards: usize) -> Result<(), NotRecorded> {
    let change = Change::new(kinds::START, &Actor::PROCESS, "", clock::unix())
        .before(&json!({
            "config_sha256": left.digest,
            "ended_in_order": left.in_order,
            "closed_after_crash": left.closed_after_crash,
            "replaces": left.replaces,
        }))
        .after(&json!({
            "config_sha256": config.outline.digest(),
            "configured": config.outline.counts(),
            "shards": shards,
            "version": env!("CARGO_PKG_VERSION"),
        }));
    desk.record(&change)
}

/// The gateway is about to end; everything handed in is written before the journal is closed.
pub(super) fn stopping(desk: &ChangeDesk, clean: bool, bodies_stored: bool) {
    let change = Change::new(kinds::STOP, &Actor::PROCESS, "", clock::unix());
    let after = json!({ "every_stream_ended_by_itself": clean, "every_body_stored": bodies_stored });
    submit_or_say(desk, &change.after(&after));
}

/// A signal asks for a drain.
pub(super) fn draining(desk: &ChangeDesk) {
    submit_or_say(desk, &Change::new(kinds::DRAIN, &Actor::SIGNAL, "", clock::unix()));
}

fn submit_or_say(desk: &ChangeDesk, change: &Change) {
    if let Err(error) = desk.submit(change) {
        tracing::error!(kind = %change.kind, %error, "a change is not in the audit");
    }
}
