//! The up door: one bounded ring per shard. A request takes a ticket when its head has been read; the ticket is the right to
//! the ring slots its entries will need, so that a record never finds the ring full (law 2). No ticket, no service: the
//! request waits while the journal is only behind, and is refused before anything was spent on it.

use crate::kernel::{
    limits::{JOURNAL_RING_ENTRIES, JOURNAL_RING_SPARE},
    record::{Entry, Open, Record},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// What a request may send: an open and a close entry.
const REQUEST_SLOTS: usize = 2;

/// The shard's end.
pub struct UpSender {
    ring: rtrb::Producer<Entry>,
    promised: usize,
    accepting: Arc<AtomicBool>,
}

/// The journal's end.
pub struct UpReceiver {
    ring: rtrb::Consumer<Entry>,
}

/// The right to the ring slots of one request. It must come back through `close`.
#[must_use = "a ticket that is not closed is a request without a record"]
#[derive(Debug)]
pub struct Ticket {
    slots: usize,
}

/// Makes a door of the usual size, to a journal that always writes.
pub fn door() -> (UpSender, UpReceiver) {
    door_while(Arc::new(AtomicBool::new(true)))
}

/// The same, to a journal that sets this flag while it can write. While it cannot, requests get no ticket: a record that may
/// never reach the disk must not be promised. The flag is read by every shard and hardly ever written.
pub fn door_while(accepting: Arc<AtomicBool>) -> (UpSender, UpReceiver) {
    door_of(JOURNAL_RING_ENTRIES, accepting)
}

fn door_of(entries: usize, accepting: Arc<AtomicBool>) -> (UpSender, UpReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(entries);
    (UpSender { ring: producer, promised: 0, accepting }, UpReceiver { ring: consumer })
}

impl UpSender {
    /// A ticket for a request that may be admitted: an open and a close entry.
    pub fn ticket(&mut self) -> Option<Ticket> {
        if !self.accepting.load(Relaxed) {
            return None;
        }
        self.promise(REQUEST_SLOTS, JOURNAL_RING_SPARE)
    }

    /// Would it help to wait for a ticket? The journal writes, and has more to write than the ring has room for.
    pub fn is_full(&self) -> bool {
        self.accepting.load(Relaxed) && self.ring.slots() < self.promised + REQUEST_SLOTS + JOURNAL_RING_SPARE
    }

    /// A ticket for the record of a refusal, when there is none for a request.
    pub fn refusal_ticket(&mut self) -> Option<Ticket> {
        self.promise(1, 0)
    }

    fn promise(&mut self, slots: usize, spare: usize) -> Option<Ticket> {
        if self.ring.slots() < self.promised + slots + spare {
            return None;
        }
        self.promised += slots;
        Some(Ticket { slots })
    }

    /// Sends the opening note. False if the ticket has no slot for one (it was taken before): then the request must not go up.
    pub fn open(&mut self, ticket: &mut Ticket, open: Open) -> bool {
        if ticket.slots < REQUEST_SLOTS {
            return false;
        }
        ticket.slots -= 1;
        self.promised -= 1;
        self.ring.push(Entry::Open(open)).is_ok()
    }

    /// Sends the record and gives the ticket back.
    pub fn close(&mut self, ticket: Ticket, record: Box<Record>) {
        self.promised -= ticket.slots;
        let sent = self.ring.push(Entry::Close(record));
        debug_assert!(sent.is_ok(), "a ticket guarantees its slot");
    }

    /// Requests whose record is still to come.
    pub fn promised(&self) -> usize {
        self.promised
    }
}

impl UpReceiver {
    /// Takes up to `most` entries, in order.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(Entry)) -> usize {
        let mut taken = 0;
        while taken < most {
            let Ok(entry) = self.ring.pop() else { break };
            take(entry);
            taken += 1;
        }
        taken
    }

    /// The shard is gone and everything it sent has been taken.
    pub fn is_finished(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }

    /// Entries waiting.
    pub fn waiting(&self) -> usize {
        self.ring.slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_refuses_requests_but_still_takes_the_records_of_those_it_promised() {
        let (mut sender, mut receiver) = door_of(JOURNAL_RING_SPARE + 10, Arc::new(AtomicBool::new(true)));
        assert!(!sender.is_full());
        let tickets: Vec<_> = std::iter::from_fn(|| sender.ticket()).collect();
        assert_eq!(tickets.len(), 5);
        assert!(sender.is_full());
        let refusals: Vec<_> = std::iter::from_fn(|| sender.refusal_ticket()).collect();
        assert_eq!(refusals.len(), JOURNAL_RING_SPARE);
        for ticket in refusals.into_iter().chain(tickets) {
            sender.close(ticket, Box::default());
        }
        assert_eq!(sender.promised(), 0);
        assert_eq!(receiver.drain(usize::MAX, |_| ()), JOURNAL_RING_SPARE + 5);
        assert!(!sender.is_full());
        assert!(!receiver.is_finished());
        drop(sender);
        assert!(receiver.is_finished());
    }

    #[test]
    fn a_journal_that_cannot_write_is_promised_records_or_keeps_refusing_when_it_can() {
        let accepting = Arc::new(AtomicBool::new(true));
        let (mut sender, mut receiver) = door_while(accepting.clone());
        let admitted = sender.ticket().unwrap();
        accepting.store(false, Relaxed);
        assert!(sender.ticket().is_none());
        assert!(!sender.is_full(), "whoever waited would wait for a disk that may stay broken");
        let refused = sender.refusal_ticket().unwrap();
        // What was promised before is kept.
        sender.close(admitted, Box::default());
        sender.close(refused, Box::default());
        accepting.store(true, Relaxed);
        let again = sender.ticket().unwrap();
        sender.close(again, Box::default());
        assert_eq!(receiver.drain(usize::MAX, |_| ()), 3);
    }
}
