//! The provider's own books: what it received, what it answered and what it would bill.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// Tokens and searches that one answer would be billed for (contract.md §4.2); the input kinds never overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BilledUsage {
    /// Uncached input tokens.
    pub input: u64,
    /// Output tokens, thinking included.
    pub output: u64,
    /// Cache read tokens.
    pub cache_read: u64,
    /// Cache writes kept five minutes.
    pub cache_write_5m: u64,
    /// Cache writes kept one hour.
    pub cache_write_1h: u64,
    /// Web searches.
    pub web_search: u64,
}

impl BilledUsage {
    /// Adds `other` to every field.
    pub fn add(&mut self, other: &BilledUsage) {
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write_5m += other.cache_write_5m;
        self.cache_write_1h += other.cache_write_1h;
        self.web_search += other.web_search;
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was handed to the kernel, whatever its status.
    Completed,
    /// The client closed or reset its side before the answer was complete.
    ClientGone,
    /// The script broke the answer: reset, close, error event.
    Faulted,
}

/// One exchange.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Position in the books, counted from 1 in the order exchanges ended.
    pub index: u64,
    /// The `request-id` the answer carried.
    pub request_id: String,
    /// Request method.
    pub method: String,
    /// Request target as received, query included.
    pub path: String,
    /// Model of the request body; empty when there was none.
    pub model: String,
    /// Whether the request asked for a stream.
    pub stream: bool,
    /// First eight hex digits of the credential's SHA-256; empty without a credential.
    pub credential_fingerprint: String,
    /// `none`, `length` or `chunked`.
    pub request_framing: &'static str,
    /// SHA-256 of the request body after chunk decoding, in hex.
    pub request_sha256: String,
    /// Bytes of the request body after chunk decoding.
    pub request_bytes: u64,
    /// SHA-256 of the response body after chunk decoding (content encoding kept), in hex, as far as it was sent.
    pub response_sha256: String,
    /// Bytes of the response body after chunk decoding, as far as they were sent.
    pub response_bytes: u64,
    /// Status of the answer; 0 when none was sent.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// What would be billed.
    pub usage: BilledUsage,
    /// Request header names as received, in order.
    pub header_names: Vec<String>,
    /// Request header values by lower-case name, without credentials; repeated headers are joined with `, `.
    pub headers: BTreeMap<String, String>,
    /// Unix milliseconds when the request head was complete.
    pub started_unix_ms: u64,
    /// Unix milliseconds when the exchange ended.
    pub ended_unix_ms: u64,
    /// The raw request body, with `keep_bodies` only.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "body_text")]
    pub request_body: Option<Vec<u8>>,
}

fn body_text<S: Serializer>(body: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body.as_deref().unwrap_or_default()))
}

/// Sums of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ModelTotals {
    /// Exchanges that named this model.
    pub requests: u64,
    /// Those that ended [`Outcome::Completed`] with a 2xx status.
    pub completed: u64,
    /// Those that ended [`Outcome::ClientGone`].
    pub client_gone: u64,
    /// What would be billed.
    pub usage: BilledUsage,
}

/// Sums that survive the dropping of old entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Exchanges ended.
    pub requests: u64,
    /// Exchanges begun and not ended yet.
    pub open: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Entries dropped because newer ones pushed them out.
    pub entries_dropped: u64,
    /// Sums per model of the request.
    pub models: BTreeMap<String, ModelTotals>,
}

impl Totals {
    /// Billed usage over all models.
    pub fn usage(&self) -> BilledUsage {
        let mut sum = BilledUsage::default();
        self.models.values().for_each(|model| sum.add(&model.usage));
        sum
    }
}

/// A snapshot of the books.
#[derive(Debug, Clone, Serialize)]
pub struct Books {
    /// Index of the newest entry ever made; the next `since`.
    pub last_index: u64,
    /// Entries, oldest first.
    pub entries: Vec<Entry>,
    /// Sums.
    pub totals: Totals,
}

/// The live books, shared by the provider's threads.
#[derive(Debug)]
pub(super) struct Ledger {
    keep_entries: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    last_index: u64,
    waiters: usize,
    entries: VecDeque<Entry>,
    totals: Totals,
}

impl Ledger {
    pub(super) fn new(keep_entries: usize) -> Ledger {
        Ledger { keep_entries, inner: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn keeps_entries(&self) -> bool {
        self.keep_entries > 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every update below is complete before it can panic, so a poisoned lock still guards sound books.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait for the books to change; they look again once the lock is free.
    fn tell(&self, inner: &Inner) {
        if inner.waiters > 0 {
            self.changed.notify_all();
        }
    }

    pub(super) fn connected(&self) {
        let mut inner = self.lock();
        inner.totals.connections += 1;
        inner.totals.connections_open += 1;
        self.tell(&inner);
    }

    pub(super) fn disconnected(&self) {
        let mut inner = self.lock();
        inner.totals.connections_open -= 1;
        self.tell(&inner);
    }

    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.totals.open += 1;
        self.tell(&inner);
    }

    /// Closes an exchange that [`Ledger::begin`] opened. `entry` is `None` when only the sums are wanted.
    pub(super) fn settle(&self, model: &str, status: u16, outcome: Outcome, usage: &BilledUsage, entry: Option<Entry>) {
        let mut inner = self.lock();
        self.tell(&inner);
        inner.last_index += 1;
        let totals = &mut inner.totals;
        totals.open -= 1;
        totals.requests += 1;
        if !model.is_empty() {
            if !totals.models.contains_key(model) {
                totals.models.insert(model.to_owned(), ModelTotals::default());
            }
            if let Some(sums) = totals.models.get_mut(model) {
                sums.requests += 1;
                sums.completed += u64::from(outcome == Outcome::Completed && (200..300).contains(&status));
                sums.client_gone += u64::from(outcome == Outcome::ClientGone);
                sums.usage.add(usage);
            }
        }
        let Some(mut entry) = entry.filter(|_| self.keep_entries > 0) else { return };
        entry.index = inner.last_index;
        inner.entries.push_back(entry);
        if inner.entries.len() > self.keep_entries {
            inner.entries.pop_front();
            inner.totals.entries_dropped += 1;
        }
    }

    /// Entries whose index is above `since`, and the sums.
    pub(super) fn since(&self, since: u64) -> Books {
        let inner = self.lock();
        let skip = inner.entries.partition_point(|entry| entry.index <= since);
        Books {
            last_index: inner.last_index,
            entries: inner.entries.iter().skip(skip).cloned().collect(),
            totals: inner.totals.clone(),
        }
    }

    /// The books once `enough` says so; `None` if it does not within `deadline`.
    pub(super) fn when(&self, deadline: Duration, enough: impl Fn(&Totals) -> bool) -> Option<Books> {
        let mut inner = self.lock();
        inner.waiters += 1;
        let waiting = self.changed.wait_timeout_while(inner, deadline, |inner| !enough(&inner.totals));
        let (mut inner, waited) = waiting.unwrap_or_else(PoisonError::into_inner);
        inner.waiters -= 1;
        drop(inner);
        if waited.timed_out() { None } else { Some(self.since(0)) }
    }

    /// Forgets entries and sums; indexes and the counts of what is open go on.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        let (open, connections_open) = (inner.totals.open, inner.totals.connections_open);
        inner.totals = Totals { open, connections_open, ..Totals::default() };
    }
}
