//! The body lane: one bounded ring per shard, from the taps on a request's way to the thread that stores bodies. It is bounded by
//! entries and by bytes; at either cap nothing waits: the body is given up, and its end says so.

use crate::kernel::{
    ids::RequestId,
    limits::{BODY_LANE_BYTES_MAX, BODY_LANE_ENTRIES, BODY_LANE_SPARE},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// Which of the two bodies of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// The client's.
    Request,
    /// The upstream's, as it went to the client.
    Response,
}

/// What is known of one body at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyEnd {
    /// Its bytes, those that were given up included.
    pub bytes: u64,
    /// SHA-256 of all of them.
    pub sha256: [u8; 32],
    /// It broke off: there would have been more.
    pub cut: bool,
}

/// The end of an exchange whose bodies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeEnd {
    /// The client's body.
    pub request: BodyEnd,
    /// The answer's body.
    pub response: BodyEnd,
    /// A part found no room on the lane, so what there is of both is of no use.
    pub dropped: bool,
}

/// What travels on the lane.
#[derive(Debug)]
pub enum BodyItem {
    /// The next bytes of a body.
    Chunk {
        /// Of which request.
        id: RequestId,
        /// Of which body.
        way: Way,
        /// The bytes, copied once, here.
        bytes: Box<[u8]>,
    },
    /// The exchange is over.
    End {
        /// Which request.
        id: RequestId,
        /// What it came to.
        end: ExchangeEnd,
    },
}

/// What both ends know of the lane.
#[derive(Debug, Default)]
struct Level {
    /// Bytes sent and not yet written.
    waiting: AtomicUsize,
}

/// Whether the store of bodies takes anything now: one flag for all shards.
pub type StoreTakes = Arc<AtomicBool>;

/// The shard's end.
pub struct BodySender {
    ring: rtrb::Producer<BodyItem>,
    level: Arc<Level>,
    takes: StoreTakes,
}

/// The store's end.
pub struct BodyReceiver {
    ring: rtrb::Consumer<BodyItem>,
    level: Arc<Level>,
}

/// Makes a lane. `takes` is the store's flag.
pub fn lane(takes: StoreTakes) -> (BodySender, BodyReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(BODY_LANE_ENTRIES);
    let level = Arc::<Level>::default();
    (BodySender { ring: producer, level: level.clone(), takes }, BodyReceiver { ring: consumer, level })
}

impl BodySender {
    /// Is there room for another exchange, with so many bytes announced? From half of the lane on there is not: the other half
    /// is for those that run.
    pub fn has_room(&self, announced: u64) -> bool {
        let waiting = self.waiting() as u64;
        self.takes.load(SeqCst)
            && waiting.saturating_add(announced.min(BODY_LANE_BYTES_MAX as u64 / 4)) <= BODY_LANE_BYTES_MAX as u64 / 2
            && self.ring.slots() >= BODY_LANE_ENTRIES / 2
    }

    /// Sends bytes of a body; false if there is no room for them.
    pub fn send(&mut self, id: RequestId, way: Way, bytes: Box<[u8]>) -> bool {
        let len = bytes.len();
        if self.waiting() + len > BODY_LANE_BYTES_MAX || self.ring.slots() <= BODY_LANE_SPARE {
            return false;
        }
        self.level.waiting.fetch_add(len, SeqCst);
        self.ring.push(BodyItem::Chunk { id, way, bytes }).is_ok()
    }

    /// Sends the end of an exchange; false if not even that found a slot.
    pub fn end(&mut self, id: RequestId, end: ExchangeEnd) -> bool {
        self.ring.push(BodyItem::End { id, end }).is_ok()
    }

    /// Bytes sent and not yet written.
    pub fn waiting(&self) -> usize {
        self.level.waiting.load(SeqCst)
    }
}

impl BodyReceiver {
    /// The next item.
    pub fn take(&mut self) -> Option<BodyItem> {
        self.ring.pop().ok()
    }

    /// So many bytes that were taken are on disk, or given up.
    pub fn done(&self, bytes: usize) {
        self.level.waiting.fetch_sub(bytes, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId(7);

    fn end() -> ExchangeEnd {
        ExchangeEnd { request: BodyEnd::default(), response: BodyEnd::default(), dropped: true }
    }

    #[test]
    fn bodies_wait_without_bound_or_an_end_is_lost_behind_them() {
        let (mut sender, mut receiver) = lane(Arc::new(AtomicBool::new(true)));
        assert!(sender.has_room(0));
        let chunk = || vec![0; BODY_LANE_BYTES_MAX / 8].into_boxed_slice();
        let sent = (0..100).take_while(|_| sender.send(ID, Way::Request, chunk())).count();
        assert_eq!((sent, sender.waiting()), (8, BODY_LANE_BYTES_MAX));
        assert!(!sender.has_room(0) && sender.end(ID, end()));
        // What was taken still counts until it is written.
        let taken = std::iter::from_fn(|| receiver.take()).count();
        assert_eq!((taken, sender.waiting()), (9, BODY_LANE_BYTES_MAX));
        receiver.done(BODY_LANE_BYTES_MAX);
        assert!(sender.has_room(0));
        let many = (0..BODY_LANE_ENTRIES * 2).take_while(|_| sender.send(ID, Way::Response, Box::new([1]))).count();
        assert_eq!(many, BODY_LANE_ENTRIES - BODY_LANE_SPARE);
        assert!(!sender.has_room(0) && sender.end(ID, end()));
    }

    #[test]
    fn a_store_that_takes_nothing_is_given_another_exchange() {
        let takes = Arc::new(AtomicBool::new(true));
        let (sender, _receiver) = lane(takes.clone());
        assert!(sender.has_room(u64::MAX), "one large body is no reason");
        takes.store(false, SeqCst);
        assert!(!sender.has_room(0));
    }
}
