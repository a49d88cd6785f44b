//! Which target a session was last served by: where its prompts are cached.
//!
//! The race of `pick` already sends a session to one target wherever it arrives. What it cannot know is that the session has
//! moved: its target failed, another one answered and holds the cache now. So a target is remembered once it has served a
//! session, for as long as a prompt cache can last. It is a help and no truth: a table of fixed size per shard, in which a
//! newer session may take an older one's place; whoever is not found runs the race again.

use crate::kernel::time::MonoUs;
use std::time::Duration;

/// Sessions a shard remembers.
pub const SESSIONS_MAX: usize = 16 * 1024;
/// How long after its last answer: the longer of the providers' cache lifetimes.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// Places a session may take.
const WAYS: usize = 4;

#[derive(Clone, Copy, Default)]
struct Slot {
    session: u64,
    salt: u64,
    seen_us: u64,
}

/// The table. It takes no memory before its first session.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<Slot>,
}

impl Sessions {
    fn ways(session: u64) -> std::ops::Range<usize> {
        let from = session as usize % (SESSIONS_MAX / WAYS) * WAYS;
        from..from + WAYS
    }

    /// The salt of the target that served a session last.
    pub fn find(&self, session: u64, now: MonoUs) -> Option<u64> {
        let slots = self.slots.get(Self::ways(session))?;
        let lasts = |slot: &&Slot| now.since(MonoUs(slot.seen_us)) < REMEMBERED.as_micros() as u64;
        slots.iter().find(|slot| slot.session == session && slot.salt != 0).filter(lasts).map(|slot| slot.salt)
    }

    /// A target has served a session.
    pub fn bind(&mut self, session: u64, salt: u64, now: MonoUs) {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); SESSIONS_MAX];
        }
        let slots = &mut self.slots[Self::ways(session)];
        let place = slots.iter().position(|slot| slot.session == session);
        let oldest = || slots.iter().enumerate().min_by_key(|(_, slot)| slot.seen_us).map_or(0, |(place, _)| place);
        let place = place.unwrap_or_else(oldest);
        slots[place] = Slot { session, salt, seen_us: now.0 };
    }
}
