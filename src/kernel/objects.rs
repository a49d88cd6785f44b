//! Who made what only its upstream knows: batches, files, containers, messages that a thread goes on from. Which account has an
//! object, whose it is, and, of a batch, what was booked for it until its results were read.
//!
//! Shards learn from answers and read without a lock; the journal's thread writes down what records say, so a restart knows it
//! all again. An id is kept as a hash: what clients name must not be able to aim at a place, and nobody needs the text back.
//! Bounded by `OBJECTS_KEPT_MAX`: when there are more, the older half is forgotten, and is then as unknown as another's.

use super::{
    ids::PrincipalId,
    keys::Principal,
    limits::OBJECTS_KEPT_MAX,
    money::Nanos,
    names::NameId,
    record::{Label, ObjectEvent, Operation, Record},
    time::UnixMs,
};
use arrayvec::ArrayVec;
use aws_lc_rs::digest;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Objects that one answer can make: a container, and the message that a thread goes on from.
pub const OBJECTS_PER_ANSWER_MAX: usize = 2;

/// What is done with the name of an object that this gateway did not see being made (`[objects] unknown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It does not exist, as far as the caller is told.
    #[default]
    Refuse,
    /// The accounts are asked for it in turn, and who found it owns it: the name alone opens the object.
    Ask,
}

/// One object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The account that has it.
    pub upstream: NameId,
    /// Who made it.
    pub principal: PrincipalId,
    /// When the request began that made it.
    pub made_at: UnixMs,
    /// What was booked for it until it is settled.
    pub held: Nanos,
    /// A container, or a message of a thread: messages that name it stick to the account.
    pub sticky: bool,
    /// A record that says so is on disk.
    pub on_disk: bool,
    /// Somebody is booking its results, or has.
    pub claimed: bool,
    /// A record that settles it is on disk.
    pub settled: bool,
}

/// Everything that is known of objects.
#[derive(Default)]
pub struct Objects {
    table: papaya::HashMap<u128, Owned>,
    /// Who has ever made one that is sticky, and how many such callers there are.
    sticky: papaya::HashMap<PrincipalId, ()>,
    sticky_callers: AtomicUsize,
}

/// Where an object's entry is.
pub fn place(id: &str) -> u128 {
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    u128::from_le_bytes(half)
}

impl Objects {
    /// Is there none at all?
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Has anybody made a container or a thread?
    pub fn any_sticky(&self) -> bool {
        self.sticky_callers.load(Relaxed) > 0
    }

    /// Has this caller?
    pub fn has_sticky(&self, principal: PrincipalId) -> bool {
        self.sticky.pin().contains_key(&principal)
    }

    fn note_sticky(&self, owned: &Owned) {
        let callers = self.sticky.pin();
        if owned.sticky && callers.get(&owned.principal).is_none() {
            callers.insert(owned.principal, ());
            self.sticky_callers.store(callers.len(), Relaxed);
        }
    }

    /// What is known of an object. Lock-free.
    pub fn find(&self, id: &str) -> Option<Owned> {
        self.table.pin().get(&place(id)).copied()
    }

    /// An answer has shown an object. Whose it is already it stays.
    pub fn learn(&self, id: &str, owned: Owned) {
        self.table.pin().get_or_insert(place(id), owned);
        self.note_sticky(&owned);
    }

    /// The right to book a batch's results: given once. What it was before is what is to be settled.
    pub fn claim(&self, id: &str) -> Option<Owned> {
        let table = self.table.pin();
        let claim = |entry: Option<(&u128, &Owned)>| match entry {
            Some((_, owned)) if !owned.claimed => papaya::Operation::Insert(Owned { claimed: true, ..*owned }),
            _ => papaya::Operation::Abort(()),
        };
        match table.compute(place(id), claim) {
            papaya::Compute::Updated { old: (_, before), .. } => Some(*before),
            _ => None,
        }
    }

    /// What a record says, now that it is on disk. By one thread.
    pub fn apply(&self, record: &Record) {
        let Some(note) = &record.objects else { return };
        let (Some(principal), Some(upstream)) = (record.principal, record.upstream) else { return };
        let table = self.table.pin();
        for id in &note.ids {
            let place = place(id);
            match note.event {
                ObjectEvent::Made => {
                    let held = if record.operation == Operation::BatchCreate { record.cost } else { Nanos::ZERO };
                    let made_at = record.started_at;
                    let (on_disk, claimed, settled) = (true, false, false);
                    let sticky = record.operation == Operation::Messages;
                    let new = Owned { upstream, principal, made_at, held, sticky, on_disk, claimed, settled };
                    self.note_sticky(&new);
                    table.update_or_insert(place, |owned| Owned { on_disk: true, ..*owned }, new);
                }
                ObjectEvent::Settled => {
                    table.update(place, |owned| Owned { claimed: true, settled: true, ..*owned });
                }
                ObjectEvent::Gone => {
                    table.remove(&place);
                }
            }
        }
        if table.len() > OBJECTS_KEPT_MAX {
            let mut ages: Vec<UnixMs> = table.values().map(|owned| owned.made_at).collect();
            let (_, middle, _) = ages.select_nth_unstable(OBJECTS_KEPT_MAX / 2);
            let middle = *middle;
            table.retain(|_, owned| owned.made_at > middle);
        }
    }

    /// Puts back what was on disk.
    pub fn restore(&self, place: u128, owned: Owned) {
        self.table.pin().insert(place, owned);
        self.note_sticky(&owned);
    }

    /// What is on disk.
    pub fn on_disk(&self) -> Vec<(u128, Owned)> {
        let table = self.table.pin();
        table.iter().filter(|(_, owned)| owned.on_disk).map(|(place, owned)| (*place, *owned)).collect()
    }
}

/// May this caller reach what that one made? Within a team everybody may; without one the user may, and without a user the key.
pub fn shares(maker: &Principal, caller: &Principal) -> bool {
    for (of, whose) in [(&maker.team, &caller.team), (&maker.user, &caller.user)] {
        if !of.is_empty() || !whose.is_empty() {
            return of == whose;
        }
    }
    maker.key == caller.key
}

/// What a record says of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNote {
    /// Their ids, as the provider gave them.
    pub ids: ArrayVec<Label, OBJECTS_PER_ANSWER_MAX>,
    /// What became of them.
    pub event: ObjectEvent,
    /// Whom the cost belongs to and when, where that is not the caller now: a batch is booked on who made it, when it was made.
    pub booked: Option<(PrincipalId, UnixMs)>,
}

impl ObjectNote {
    /// Of one object.
    pub fn one(id: Label, event: ObjectEvent) -> Box<Self> {
        Box::new(Self { ids: ArrayVec::from_iter([id]), event, booked: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::record::inline;

    fn made(id: &str, at: u64) -> Record {
        Record {
            started_at: UnixMs(at),
            principal: Some(PrincipalId(1)),
            upstream: Some(NameId(2)),
            operation: Operation::BatchCreate,
            cost: Nanos(9),
            objects: Some(ObjectNote::one(inline(id.as_bytes()), ObjectEvent::Made)),
            ..Record::default()
        }
    }

    #[test]
    fn the_results_of_a_batch_are_booked_twice() {
        let objects = Objects::default();
        objects.apply(&made("msgbatch_1", 5));
        assert_eq!(objects.claim("msgbatch_1").map(|before| before.held), Some(Nanos(9)));
        assert_eq!((objects.claim("msgbatch_1"), objects.claim("msgbatch_2")), (None, None));
        // A claim without a record on disk ends with the process; a settlement does not.
        let again = Objects::default();
        for (place, owned) in objects.on_disk() {
            again.restore(place, Owned { claimed: owned.settled, ..owned });
        }
        assert!(again.claim("msgbatch_1").is_some());
        let mut settled = made("msgbatch_1", 5);
        settled.objects = Some(ObjectNote::one(inline(b"msgbatch_1"), ObjectEvent::Settled));
        again.apply(&settled);
        assert!(again.find("msgbatch_1").unwrap().settled && again.claim("msgbatch_1").is_none());
    }

    #[test]
    fn objects_that_clients_make_grow_the_table_without_bound() {
        let objects = Objects::default();
        for n in 0..=OBJECTS_KEPT_MAX {
            objects.apply(&made(&format!("file_{n}"), n as u64));
        }
        assert!(objects.on_disk().len() <= OBJECTS_KEPT_MAX / 2 + 1);
        assert!(objects.find(&format!("file_{OBJECTS_KEPT_MAX}")).is_some() && objects.find("file_0").is_none());
    }

    #[test]
    fn another_teams_objects_are_reached_or_a_colleagues_are_not() {
        let who = |key: &str, user: &str, team: &str| Principal {
            key: key.into(),
            user: user.into(),
            team: team.into(),
            project: String::new(),
        };
        let maker = who("k1", "a", "blue");
        for (caller, may) in
            [(who("k2", "b", "blue"), true), (who("k1", "a", "red"), false), (who("k1", "a", ""), false)]
        {
            assert_eq!(shares(&maker, &caller), may, "{caller:?}");
        }
        assert!(shares(&who("k1", "a", ""), &who("k2", "a", "")) && !shares(&who("k1", "a", ""), &who("k1", "b", "")));
        assert!(shares(&who("k1", "", ""), &who("k1", "", "")) && !shares(&who("k1", "", ""), &who("k2", "", "")));
    }
}
