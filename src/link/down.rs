//! The down door: the newest snapshot by version, and the phase of life. A shard reads one atomic per tick and takes the
//! lock only when there is something new; no request ever does.

use crate::kernel::{ids::ShardId, ids::SnapshotVersion, snapshot::Snapshot};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
};

/// What a shard is told to do: the closed set of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serve.
    Serving = 0,
    /// Another process has the listening sockets: finish what there is, let each connection end with its next answer.
    Retiring = 1,
    /// Accept nothing new, let running requests finish.
    Draining = 2,
    /// End now.
    Stopping = 3,
}

/// The door, shared by the control plane and all shards.
pub struct DownDoor {
    version: AtomicU64,
    latest: Mutex<Arc<Snapshot>>,
    phase: AtomicU8,
    accepting: AtomicBool,
    applied: Box<[AtomicU64]>,
    finished: Box<[AtomicU8]>,
}

impl DownDoor {
    /// Opens the door with a first snapshot.
    pub fn new(first: Arc<Snapshot>, shards: usize) -> Self {
        Self {
            version: AtomicU64::new(first.version.0),
            latest: Mutex::new(first),
            phase: AtomicU8::new(Phase::Serving as u8),
            accepting: AtomicBool::new(true),
            applied: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            finished: (0..shards).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Makes a snapshot the newest.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let version = snapshot.version.0;
        *self.latest.lock() = snapshot;
        self.version.store(version, SeqCst);
    }

    /// The newest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.lock().clone()
    }

    /// The newest snapshot, if it is newer than the one at hand.
    pub fn newer_than(&self, have: SnapshotVersion) -> Option<Arc<Snapshot>> {
        (self.version.load(SeqCst) > have.0).then(|| self.latest())
    }

    /// Moves on to a later phase; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, SeqCst);
    }

    /// The phase of life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(SeqCst) {
            0 => Phase::Serving,
            1 => Phase::Retiring,
            2 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Are new connections accepted? If not they wait in the queue of their socket, which another process may have, too.
    pub fn accepts(&self) -> bool {
        self.accepting.load(SeqCst)
    }

    /// Says whether new connections are accepted. A shard looks at it at each tick.
    pub fn accept(&self, accepting: bool) {
        self.accepting.store(accepting, SeqCst);
    }

    /// A shard says which snapshot it serves.
    pub fn applied(&self, shard: ShardId, version: SnapshotVersion) {
        if let Some(place) = self.applied.get(usize::from(shard.0)) {
            place.store(version.0, SeqCst);
        }
    }

    /// The snapshot a shard serves; 0 before its first.
    pub fn applied_by(&self, shard: ShardId) -> SnapshotVersion {
        SnapshotVersion(self.applied.get(usize::from(shard.0)).map_or(0, |v| v.load(SeqCst)))
    }

    /// Does every shard serve the newest snapshot?
    pub fn settled(&self) -> bool {
        let newest = self.version.load(SeqCst);
        self.applied.iter().all(|v| v.load(SeqCst) >= newest)
    }

    /// A shard says that it has drained: no connection, no record still to send.
    pub fn finished(&self, shard: ShardId) {
        if let Some(place) = self.finished.get(usize::from(shard.0)) {
            place.store(1, SeqCst);
        }
    }

    /// Has every shard drained?
    pub fn all_finished(&self) -> bool {
        self.finished.iter().all(|f| f.load(SeqCst) == 1)
    }
}
