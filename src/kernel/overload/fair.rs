//! Slots that principals share: free ones are given away at once, and when there are none, requests wait in lines, one for
//! each principal.
//!
//! - **Whose turn it is.** A slot that comes free goes to the line whose principal holds the fewest slots; among equals to the
//!   one that was served, or came, least recently. So slots are shared as evenly as demand allows, whoever sends how much, and
//!   a principal that holds none is passed at most once by each other that holds none. Within a line, classes come in their
//!   order and requests in theirs.
//! - **Nobody holds everything.** The last sixteenth of the slots is kept from principals that hold half or more of them, so
//!   that whoever comes next finds room even where a loop of long streams has taken the rest.
//! - **Bounded.** At most `waiting_max` requests wait. Beyond it the longest line gives up its last request of the least
//!   important class, which may be the newcomer itself. Every wait has a deadline.
//!
//! While there is room, a request costs a lookup in a small table and no allocation.

use super::class::Class;
use crate::kernel::{routing::hash::mix, time::MonoUs};
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

/// This part of the slots is kept from principals that hold half of them.
pub const KEPT_BACK: usize = 16;

/// A waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// How a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has a slot.
    Granted,
    /// Others came, and its line was the longest.
    Displaced,
    /// Its time is over.
    Expired,
}

/// What a request that comes gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// A slot.
    Granted,
    /// A place in its line.
    Waits(Ticket),
    /// Nothing: its own line is the longest, and all places are taken.
    Refused,
}

/// How many slots there are, and how many may wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Slots.
    pub slots: usize,
    /// Requests that may wait.
    pub waiting_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: Ticket,
    until: MonoUs,
}

struct Line {
    principal: u32,
    /// When it was served last, or else came, in turns.
    stamp: u64,
    waiters: [VecDeque<Waiter>; Class::COUNT],
}

/// The slots, and who holds and awaits them.
pub struct FairSlots {
    room: Room,
    taken: usize,
    held: HashMap<u32, u32, BuildHasherDefault<Mixed>>,
    lines: Vec<Line>,
    waiting: usize,
    turn: u64,
    tickets: u64,
    verdicts: Vec<(Ticket, Verdict)>,
}

impl FairSlots {
    /// All free.
    pub fn new(room: Room) -> Self {
        Self {
            room,
            taken: 0,
            held: HashMap::default(),
            lines: Vec::new(),
            waiting: 0,
            turn: 0,
            tickets: 0,
            verdicts: Vec::new(),
        }
    }

    /// Slots in use.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many slots there are, and how many may wait.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Would a request wait, whoever sends it?
    pub fn is_full(&self) -> bool {
        self.taken >= self.room.slots
    }

    /// A request comes. It takes a slot, or a place in its line until `until`.
    pub fn enter(&mut self, principal: u32, class: Class, until: MonoUs) -> Entered {
        // Whoever waits may not have what is free, or would have it.
        if self.may_take(self.holds(principal)) {
            self.take(principal);
            return Entered::Granted;
        }
        if self.waiting >= self.room.waiting_max && !self.make_place(principal, class) {
            return Entered::Refused;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let line = self.line(principal);
        line.waiters[class as usize].push_back(Waiter { ticket, until });
        self.waiting += 1;
        Entered::Waits(ticket)
    }

    /// A slot comes back.
    pub fn leave(&mut self, principal: u32) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(held) = self.held.get_mut(&principal) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&principal);
            }
        }
        if self.waiting > 0 {
            self.serve();
        }
    }

    /// A waiting request goes away by itself. False if it no longer waits.
    pub fn cancel(&mut self, principal: u32, ticket: Ticket) -> bool {
        let Some(place) = self.lines.iter().position(|line| line.principal == principal) else { return false };
        let before = self.waiting;
        for waiters in &mut self.lines[place].waiters {
            if let Some(at) = waiters.iter().position(|waiter| waiter.ticket == ticket) {
                waiters.remove(at);
                self.waiting -= 1;
            }
        }
        self.forget_if_empty(place);
        self.waiting < before
    }

    /// Ends the waits whose time is over.
    pub fn expire(&mut self, now: MonoUs) {
        if self.waiting == 0 {
            return;
        }
        for line in &mut self.lines {
            for waiters in &mut line.waiters {
                waiters.retain(|waiter| {
                    let over = waiter.until <= now;
                    if over {
                        self.verdicts.push((waiter.ticket, Verdict::Expired));
                        self.waiting -= 1;
                    }
                    !over
                });
            }
        }
        self.lines.retain(|line| line.len() > 0);
    }

    /// There are more slots or fewer now. Nobody loses one; those that wait beyond the new length wait on.
    pub fn resize(&mut self, room: Room) {
        self.room = room;
        self.serve();
    }

    /// What has been decided on waiting requests since the last call.
    pub fn verdicts(&mut self) -> std::vec::Drain<'_, (Ticket, Verdict)> {
        self.verdicts.drain(..)
    }

    fn holds(&self, principal: u32) -> usize {
        self.held.get(&principal).map_or(0, |held| *held as usize)
    }

    fn may_take(&self, holds: usize) -> bool {
        let free = self.room.slots.saturating_sub(self.taken);
        let many = holds * 2 >= self.room.slots;
        free > if many { self.room.slots / KEPT_BACK } else { 0 }
    }

    fn take(&mut self, principal: u32) {
        self.taken += 1;
        *self.held.entry(principal).or_insert(0) += 1;
    }

    fn line(&mut self, principal: u32) -> &mut Line {
        let place = self.lines.iter().position(|line| line.principal == principal).unwrap_or_else(|| {
            self.turn += 1;
            self.lines.push(Line { principal, stamp: self.turn, waiters: Default::default() });
            self.lines.len() - 1
        });
        &mut self.lines[place]
    }

    fn forget_if_empty(&mut self, place: usize) {
        if self.lines[place].len() == 0 {
            self.lines.swap_remove(place);
        }
    }

    /// Gives free slots to those whose turn it is.
    fn serve(&mut self) {
        while self.waiting > 0 && self.taken < self.room.slots {
            let turns =
                self.lines.iter().enumerate().map(|(place, line)| (self.holds(line.principal), line.stamp, place));
            let Some((_, _, place)) = turns.filter(|(holds, ..)| self.may_take(*holds)).min() else { return };
            self.turn += 1;
            let line = &mut self.lines[place];
            line.stamp = self.turn;
            let principal = line.principal;
            let Some(next) = line.waiters.iter_mut().find_map(VecDeque::pop_front) else { return };
            self.waiting -= 1;
            self.forget_if_empty(place);
            self.take(principal);
            self.verdicts.push((next.ticket, Verdict::Granted));
        }
    }

    /// All places are taken: the longest line gives one up, counted as if the newcomer stood in its own already. False if that
    /// one is the newcomer.
    fn make_place(&mut self, principal: u32, class: Class) -> bool {
        let length = |line: &Line| line.len() + usize::from(line.principal == principal);
        // Among equals the newcomer's own.
        let longest = (0..self.lines.len()).max_by_key(|place| {
            let line = &self.lines[*place];
            (length(line), line.principal == principal)
        });
        let Some(place) = longest else { return false };
        let line = &mut self.lines[place];
        let own = line.principal == principal;
        if line.len() <= 1 && !own {
            // Everybody waits with one request: nobody is worse than the newcomer.
            return false;
        }
        let least = line.waiters.iter_mut().rposition(|waiters| !waiters.is_empty());
        let Some(least) = least.filter(|least| !own || *least > class as usize) else { return false };
        if let Some(last) = line.waiters[least].pop_back() {
            self.verdicts.push((last.ticket, Verdict::Displaced));
            self.waiting -= 1;
        }
        if !own {
            // Its own line keeps its turn: the newcomer is about to stand in it.
            self.forget_if_empty(place);
        }
        true
    }
}

impl Line {
    fn len(&self) -> usize {
        self.waiters.iter().map(VecDeque::len).sum()
    }
}

/// Principals are numbers that we gave out ourselves: mixing is enough.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = mix(self.0, u64::from(number));
    }
}
