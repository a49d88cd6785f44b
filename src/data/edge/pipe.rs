//! The request body between the client's read and the upstream's write.
//!
//! The intake pushes payload as it arrives; the gate looks into it through the scanner; an upload takes it out with a cursor
//! of its own. While a retry is still possible the sent parts stay, within the shard's cap; then they go as they are sent.
//! Bounded: at most `PIPE_BYTES_MAX` of memory wait unsent, unless the gate needs to see further and the shard has room to
//! keep it. Memory is what counts, not payload: a client that sends byte by byte must not make us keep a buffer for each.

use super::{signal::Signal, tap::Tap};
use crate::{
    kernel::limits::{MODEL_BYTES_MAX, PIPE_BYTES_MAX, REPLAY_BYTES_MAX, STICKY_BYTES_MAX},
    sys::buf::Part,
    wire::json::{JsonError, TopLevelScanner, Wanted},
};
use std::{
    cell::{Cell, Ref, RefCell},
    collections::VecDeque,
    rc::Rc,
};

/// What the gate looks for in a body: places in the scanner's list.
pub mod wanted {
    /// `model`
    pub const MODEL: usize = 0;
    /// `max_tokens`
    pub const MAX_TOKENS: usize = 1;
    /// `stream`
    pub const STREAM: usize = 2;
    /// `container`
    pub const CONTAINER: usize = 3;
    /// `thread`
    pub const THREAD: usize = 4;
}

static WANTED: [Wanted; 5] = [
    Wanted { key: "model", capture_bytes_max: MODEL_BYTES_MAX },
    Wanted { key: "max_tokens", capture_bytes_max: 32 },
    Wanted { key: "stream", capture_bytes_max: 8 },
    Wanted { key: "container", capture_bytes_max: STICKY_BYTES_MAX },
    Wanted { key: "thread", capture_bytes_max: STICKY_BYTES_MAX },
];

/// Why a body will not be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure {
    /// The client went away.
    Gone,
    /// The client was too slow.
    TimedOut,
    /// Larger than the limit.
    TooLarge,
    /// The gate must see further, and the shard keeps as much as it may.
    Crowded,
    /// Not what its framing says, or ambiguous.
    Malformed(&'static str),
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    part: u64,
    /// Payload bytes before it.
    pub offset: u64,
}

impl Cursor {
    /// Moves past a part that was only looked at.
    pub fn pass(&mut self, part: &Part) {
        self.part += 1;
        self.offset += part.len() as u64;
    }
}

/// What an upload finds at its cursor.
pub enum Next {
    /// These bytes.
    Part(Part),
    /// Nothing more will come.
    End,
    /// The body failed.
    Failed(BodyFailure),
    /// The exchange is over; stop.
    Stopped,
}

struct State {
    parts: VecDeque<Part>,
    first_part: u64,
    /// Payload bytes before the first part.
    first_offset: u64,
    received: u64,
    sent: u64,
    /// Memory of all parts, and of those that no upload has sent.
    kept_footprint: usize,
    unsent_footprint: usize,
    keep: bool,
    looks_further: bool,
    ended: bool,
    failure: Option<BodyFailure>,
    scanner: TopLevelScanner,
    scan: bool,
    scan_error: Option<JsonError>,
    stopped: bool,
    /// The audit's, where it wants to know the body.
    tap: Option<Rc<RefCell<Tap>>>,
}

/// The pipe of one connection, used for one request after the other.
pub struct BodyPipe {
    state: RefCell<State>,
    arrived: Signal,
    taken: Signal,
    shard_kept: Rc<Cell<usize>>,
}

impl BodyPipe {
    /// An empty pipe. `shard_kept` counts the bytes that all pipes of the shard keep.
    pub fn new(shard_kept: Rc<Cell<usize>>) -> Self {
        let state = State {
            parts: VecDeque::new(),
            first_part: 0,
            first_offset: 0,
            received: 0,
            sent: 0,
            kept_footprint: 0,
            unsent_footprint: 0,
            keep: true,
            looks_further: false,
            ended: false,
            failure: None,
            scanner: TopLevelScanner::new(&WANTED),
            scan: true,
            scan_error: None,
            stopped: false,
            tap: None,
        };
        Self { state: RefCell::new(state), arrived: Signal::default(), taken: Signal::default(), shard_kept }
    }

    /// Makes it ready for the next request. `scan`: the body is JSON that the gate wants to look into.
    pub fn reset(&self, scan: bool) {
        self.drop_parts();
        let mut state = self.state.borrow_mut();
        (state.received, state.sent, state.first_part, state.first_offset) = (0, 0, 0, 0);
        (state.keep, state.ended, state.failure, state.stopped) = (true, false, None, false);
        (state.looks_further, state.scan, state.scan_error, state.tap) = (false, scan, None, None);
        state.scanner.reset();
    }

    fn drop_parts(&self) {
        let mut state = self.state.borrow_mut();
        self.shard_kept.set(self.shard_kept.get().saturating_sub(state.kept_footprint));
        (state.kept_footprint, state.unsent_footprint) = (0, 0);
        state.first_part += state.parts.len() as u64;
        state.parts.clear();
    }

    /// Adds payload. A key that occurs twice where weir decides by it is refused: the provider might read the other one.
    pub fn push(&self, part: Part) {
        if part.is_empty() {
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            state.received += part.len() as u64;
            if state.failure.is_some() {
                // Nobody will take it.
                return;
            }
            if let Some(tap) = &state.tap {
                tap.borrow_mut().feed(part.bytes());
            }
            if state.scan && state.scan_error.is_none() {
                if let Err(error) = state.scanner.feed(part.bytes()) {
                    state.scan_error = Some(error);
                }
                if (0..=wanted::STREAM).any(|key| state.scanner.seen(key) > 1) {
                    state.failure = Some(BodyFailure::Malformed("model, max_tokens or stream is given twice"));
                } else if [wanted::CONTAINER, wanted::THREAD].into_iter().any(|key| state.scanner.seen(key) > 1) {
                    state.failure = Some(BodyFailure::Malformed("container or thread is given twice"));
                }
            }
            let footprint = part.footprint();
            state.kept_footprint += footprint;
            state.unsent_footprint += footprint;
            self.shard_kept.set(self.shard_kept.get() + footprint);
            if self.shard_kept.get() > REPLAY_BYTES_MAX {
                state.keep = false;
                if state.looks_further && state.unsent_footprint > PIPE_BYTES_MAX {
                    state.failure = state.failure.or(Some(BodyFailure::Crowded));
                }
            }
            state.parts.push_back(part);
        }
        self.forget_sent();
        self.arrived.notify();
    }

    fn forget_sent(&self) {
        let mut state = self.state.borrow_mut();
        if state.keep {
            return;
        }
        while let Some(front) = state.parts.front() {
            let (end, footprint) = (state.first_offset + front.len() as u64, front.footprint());
            if end > state.sent {
                break;
            }
            state.parts.pop_front();
            state.first_part += 1;
            state.first_offset = end;
            state.kept_footprint -= footprint;
            self.shard_kept.set(self.shard_kept.get().saturating_sub(footprint));
        }
    }

    /// Shows the body to a tap from its first byte on. To be called before any upload has begun: until then nothing of it is
    /// forgotten.
    pub fn tap(&self, tap: Rc<RefCell<Tap>>) {
        let mut state = self.state.borrow_mut();
        debug_assert!(state.first_part == 0 && state.sent == 0, "what has been sent may be gone");
        {
            let mut tap = tap.borrow_mut();
            state.parts.iter().for_each(|part| tap.feed(part.bytes()));
            if state.ended {
                tap.end();
            }
        }
        state.tap = Some(tap);
    }

    /// The body is whole.
    pub fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        if let Some(tap) = &state.tap {
            tap.borrow_mut().end();
        }
        drop(state);
        self.arrived.notify();
    }

    /// The body will not be whole.
    pub fn fail(&self, failure: BodyFailure) {
        let mut state = self.state.borrow_mut();
        state.failure.get_or_insert(failure);
        drop(state);
        self.arrived.notify();
        self.taken.notify();
    }

    /// The exchange is over: uploads stop, the intake throws away what still comes.
    pub fn stop(&self) {
        self.state.borrow_mut().stopped = true;
        self.arrived.notify();
        self.taken.notify();
    }

    /// Is the exchange over?
    pub fn is_stopped(&self) -> bool {
        self.state.borrow().stopped
    }

    /// Waits until the exchange is over. For the side that pushes, once it has nothing more to push.
    pub async fn stopped(&self) {
        self.taken.until(|| self.is_stopped().then_some(())).await;
    }

    /// Wakes whoever waits for bytes: the client is gone, or an upload is to stop.
    pub fn wake(&self) {
        self.arrived.notify();
    }

    /// Waits until more may be pushed, the exchange is over, or the body failed.
    pub async fn room(&self) {
        self.taken.until(|| self.has_room().then_some(())).await;
    }

    /// Would `room` come back at once?
    pub fn has_room(&self) -> bool {
        let state = self.state.borrow();
        let room = state.looks_further || state.unsent_footprint < PIPE_BYTES_MAX;
        room || state.stopped || state.failure.is_some()
    }

    /// Memory that may still wait unsent. Bytes.
    pub fn room_bytes(&self) -> usize {
        PIPE_BYTES_MAX.saturating_sub(self.state.borrow().unsent_footprint)
    }

    /// Lets the gate see further into the body than uploads would need, until `look_no_further`. False if the shard keeps too
    /// much already; once it does, the body fails as `Crowded`.
    pub fn look_further(&self) -> bool {
        if self.shard_kept.get() >= REPLAY_BYTES_MAX {
            return false;
        }
        self.state.borrow_mut().looks_further = true;
        self.taken.notify();
        true
    }

    /// The gate has seen enough: what still comes waits for the upload.
    pub fn look_no_further(&self) {
        self.state.borrow_mut().looks_further = false;
    }

    /// What stands at a cursor. `over`: the upload's own reason to stop; whoever sets it calls `wake`.
    pub async fn next(&self, cursor: Cursor, over: &Cell<bool>) -> Next {
        self.arrived
            .until(|| {
                let state = self.state.borrow();
                if state.stopped || over.get() {
                    return Some(Next::Stopped);
                }
                if let Some(failure) = state.failure {
                    return Some(Next::Failed(failure));
                }
                let place = cursor.part.checked_sub(state.first_part)?;
                match state.parts.get(place as usize) {
                    Some(part) => Some(Next::Part(part.clone())),
                    None => state.ended.then_some(Next::End),
                }
            })
            .await
    }

    /// Moves a cursor past a part that has been sent.
    pub fn sent(&self, cursor: &mut Cursor, part: &Part) {
        cursor.pass(part);
        {
            let mut state = self.state.borrow_mut();
            if cursor.offset > state.sent {
                state.sent = cursor.offset;
                state.unsent_footprint = state.unsent_footprint.saturating_sub(part.footprint());
            }
        }
        self.forget_sent();
        self.taken.notify();
    }

    /// No retry any more: sent parts go at once.
    pub fn keep_no_longer(&self) {
        self.state.borrow_mut().keep = false;
        self.forget_sent();
    }

    /// Could the body be sent again from its beginning?
    pub fn is_whole_so_far(&self) -> bool {
        let state = self.state.borrow();
        state.first_part == 0 && (state.keep || state.sent == 0)
    }

    /// The whole body, where it has all come and nothing of it has been forgotten.
    pub fn whole(&self) -> Option<Vec<Part>> {
        let state = self.state.borrow();
        (state.ended && state.first_part == 0).then(|| state.parts.iter().cloned().collect())
    }

    /// Payload bytes received.
    pub fn received(&self) -> u64 {
        self.state.borrow().received
    }

    /// Has the whole body arrived?
    pub fn is_ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Why the body failed, if it did.
    pub fn failure(&self) -> Option<BodyFailure> {
        self.state.borrow().failure
    }

    /// What the scanner has seen.
    pub fn scanner(&self) -> Ref<'_, TopLevelScanner> {
        Ref::map(self.state.borrow(), |state| &state.scanner)
    }

    /// Why the body is not the JSON object it should be.
    pub fn scan_error(&self) -> Option<JsonError> {
        self.state.borrow().scan_error
    }

    /// Waits until `ready` gives a value; it is asked whenever bytes arrive, the body ends or fails.
    pub async fn until<T>(&self, ready: impl FnMut() -> Option<T>) -> T {
        self.arrived.until(ready).await
    }
}

impl Drop for BodyPipe {
    fn drop(&mut self) {
        self.drop_parts();
    }
}

#[cfg(test)]
mod tests;
