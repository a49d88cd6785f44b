//! The thread that writes: drain, encode, write, sync, tell.

use super::{
    GROUP_ENTRIES_MAX, Journal, JournalError, JournalHealth, Sink, codec,
    desk::Receipts,
    encoder::Encoder,
    group::{Group, GroupBuilder},
    handle::now,
    moves::{self, Left, Move, Moves},
    state::InFlight,
};
use crate::{
    kernel::{
        ids::RequestId,
        record::{Entry, Record},
        time::UnixMs,
    },
    link::up::UpReceiver,
    sys::clock,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// How long to wait before a refused write is tried again: at first, and at most.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(20);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a lasting refusal is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Memory kept from one group for the next. Bytes.
const GROUP_MEMORY_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Writer {
    journal: Journal,
    receivers: Vec<UpReceiver>,
    sink: Box<dyn Sink>,
    stop: Arc<AtomicBool>,
    encoder: Encoder,
    #[allow(clippy::vec_box, reason = "a record stays in the box that its shard made")]
    closes: Vec<Box<Record>>,
    /// What the group being made opens.
    opened: Vec<RequestId>,
    in_flight: InFlight,
    moves: Moves,
    left: Option<Left>,
    /// Of the last group.
    memory: Vec<u8>,
    /// Bytes since a state was last given.
    unstated_bytes: u64,
}

/// Whatever ends the thread, a panic too, nothing is admitted any more afterwards.
struct AcceptNothingAtEnd(Arc<JournalHealth>);

impl Drop for AcceptNothingAtEnd {
    fn drop(&mut self) {
        self.0.set_accepting(false);
    }
}

impl Writer {
    pub fn new(
        mut journal: Journal,
        receivers: Vec<UpReceiver>,
        sink: Box<dyn Sink>,
        stop: Arc<AtomicBool>,
        moves: Moves,
    ) -> Self {
        let unstated_bytes = journal.replayed_bytes;
        let in_flight = std::mem::take(&mut journal.in_flight);
        Self {
            encoder: Encoder::new(journal.options.names.clone()),
            journal,
            receivers,
            sink,
            stop,
            closes: Vec::new(),
            opened: Vec::new(),
            in_flight,
            moves,
            left: None,
            memory: Vec::new(),
            unstated_bytes,
        }
    }

    pub fn run(mut self) -> Result<(), JournalError> {
        let _guard = AcceptNothingAtEnd(self.journal.health());
        loop {
            // Read before the rings are drained, so that the last pass sees all that was sent before the stop.
            let stopping = self.stop.load(SeqCst);
            let (begun_at, begun) = (now(), clock::mono());
            let more = self.pass()?;
            if more {
                continue;
            }
            while self.join()? {}
            if let Some(asked) = self.moves.asked() {
                self.go(asked);
                continue;
            }
            self.journal.health.set_flushed_at(begun_at, begun);
            self.sink.flushed(&[], begun_at);
            if stopping {
                let state = self.journal.state(&self.in_flight);
                self.sink.stopped(state);
                return Ok(());
            }
            self.give_state();
            let Journal { retention, appender, .. } = &mut self.journal;
            retention.apply(appender, begun_at, Instant::now());
            thread::park_timeout(self.journal.options.flush_interval);
        }
    }

    /// Writes one group of what is waiting; true if there may be more.
    fn pass(&mut self) -> Result<bool, JournalError> {
        let begun_at = now();
        let mut builder = GroupBuilder::reusing(std::mem::take(&mut self.memory));
        let (mut more, mut newest) = self.gather(&mut builder);
        let mut receipts = Receipts::default();
        more |= self.journal.inbox.drain(&mut receipts, |change| {
            builder.push(&codec::encode_change(change));
            newest = newest.max(change.at);
        });
        if builder.entries() == 0 {
            self.memory = builder.into_memory();
            return Ok(false);
        }
        let group = self.journal.appender.seal(builder);
        self.write(&group)?;
        self.journal.retention.wrote(self.journal.appender.segment(), newest);
        self.sink.changed(receipts.changes());
        receipts.give();
        // While there is more in the rings, only what has been flushed before is certain to be complete.
        let as_of = if more { self.journal.health.flushed_at() } else { begun_at };
        self.sink.flushed(&self.closes, as_of);
        self.closes.clear();
        self.journal.last_seen = self.journal.last_seen.max(newest);
        self.unstated_bytes += group.bytes.len() as u64;
        self.memory = group.bytes;
        self.memory.shrink_to(GROUP_MEMORY_BYTES);
        self.give_state();
        Ok(more)
    }

    /// Brings over a group of what a process before this one writes; true if there may be more.
    fn join(&mut self) -> Result<bool, JournalError> {
        let last_seen = self.journal.last_seen.max(now());
        let Some(joining) = self.journal.sides.next(last_seen) else { return Ok(false) };
        let (closes, (side, joined)) = (joining.closes(), joining.source());
        let (name, done) = (joined.name.clone(), joined.done);
        joining.entries.iter().for_each(|entry| self.in_flight.note(entry));
        let group = self.journal.appender.seal(joining.builder);
        self.write(&group)?;
        self.journal.sides.wrote(side, joined);
        self.journal.retention.wrote(self.journal.appender.segment(), joining.newest);
        self.unstated_bytes += group.bytes.len() as u64;
        if !joining.silent {
            self.sink.changed(&joining.changes);
            self.sink.inherited(&name, &closes, done);
            self.sink.flushed(&closes, self.journal.health.flushed_at());
        }
        Ok(true)
    }

    /// Moves out to a side chain, or back.
    fn go(&mut self, asked: Move) {
        match asked {
            Move::Out(told) => {
                self.sink.retired(false);
                let moved = moves::out(&mut self.journal, &self.in_flight).map(|(retired, left)| {
                    self.left = Some(left);
                    retired
                });
                if moved.is_err() {
                    self.sink.retired(true);
                }
                // Whoever asked waits for it, or has given up; then the lock goes with what it would have got.
                let _gone = told.send(moved);
            }
            Move::Back(told) => {
                let moved = match &self.left {
                    Some(left) => moves::back(&mut self.journal, left, &self.in_flight),
                    None => Ok(()),
                };
                if moved.is_ok() {
                    self.left = None;
                    self.sink.retired(true);
                }
                let _gone = told.send(moved);
            }
        }
    }

    /// Takes what the shards have sent into a group: what was closed, and what was opened and is still open. An opening note whose
    /// close stands in the same group would say nothing: they reach the disk together or not at all. Returns whether there may
    /// be more, and the newest moment of it.
    fn gather(&mut self, builder: &mut GroupBuilder) -> (bool, UnixMs) {
        let share = (GROUP_ENTRIES_MAX / self.receivers.len().max(1)).max(1);
        let (mut more, mut newest) = (false, UnixMs(0));
        self.closes.clear();
        self.opened.clear();
        for receiver in &mut self.receivers {
            let taken = receiver.drain(share, |entry| match entry {
                Entry::Open(open) => {
                    newest = newest.max(open.started_at);
                    self.opened.push(open.request_id);
                    self.in_flight.open(open, false);
                }
                Entry::Close(record) => {
                    newest = newest.max(record.ended_at);
                    builder.push_encoded(|out| self.encoder.close(&record, out));
                    self.in_flight.close(record.request_id);
                    self.closes.push(record);
                }
            });
            more |= taken == share;
        }
        for id in &self.opened {
            if let Some(open) = self.in_flight.unwritten(*id) {
                builder.push_encoded(|out| self.encoder.open(open, out));
            }
        }
        (more, newest)
    }

    /// Between two groups, if it is wanted and anything has been written since the last.
    fn give_state(&mut self) {
        if self.unstated_bytes > 0 && self.sink.wants_state(self.unstated_bytes) {
            self.unstated_bytes = 0;
            let state = self.journal.state(&self.in_flight);
            self.sink.state(state);
        }
    }

    /// Writes a group, however often it takes. Meanwhile the rings fill up and shards refuse: nothing is dropped.
    fn write(&mut self, group: &Group) -> Result<(), JournalError> {
        let mut wait = RETRY_WAIT_MIN;
        let mut complained: Option<Instant> = None;
        let mut stopping_since: Option<Instant> = None;
        loop {
            let error = match self.journal.appender.append(group, now()) {
                Ok(()) => break,
                Err(error) => error,
            };
            self.journal.health.set_accepting(false);
            if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                complain(&error, group.entries);
                complained = Some(Instant::now());
            }
            if self.stop.load(SeqCst) {
                let since = *stopping_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.journal.options.stop_timeout {
                    let waiting: usize = self.receivers.iter().map(UpReceiver::waiting).sum();
                    return Err(JournalError::Unwritten { entries: group.entries + waiting, source: error });
                }
            }
            thread::park_timeout(wait);
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
        if self.journal.health.set_accepting(true) {
            tracing::info!("the journal is written again; accepting requests");
        }
        Ok(())
    }
}

fn complain(error: &io::Error, entries: usize) {
    tracing::error!(%error, entries, "the journal cannot be written; refusing requests until it can, nothing is dropped");
}
