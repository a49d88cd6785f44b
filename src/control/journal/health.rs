//! What others may know of the journal while it runs.

use crate::{
    kernel::time::{MonoUs, UnixMs},
    sys::clock,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

/// The journal's state, written by its thread, read by anybody.
#[derive(Debug, Default)]
pub struct JournalHealth {
    accepting: Arc<AtomicBool>,
    flushed_at: AtomicU64,
    /// The same moment by the clock that nobody sets.
    flushed_mono: AtomicU64,
}

impl JournalHealth {
    /// Does the journal write what it is given? While it does not, nothing new may be admitted.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(SeqCst)
    }

    /// The same flag, for the shards, which know nothing of the control plane.
    pub fn accepting_flag(&self) -> Arc<AtomicBool> {
        self.accepting.clone()
    }

    /// When everything sent up until then was last known to be on disk; 0 before the first flush.
    pub fn flushed_at(&self) -> UnixMs {
        UnixMs(self.flushed_at.load(SeqCst))
    }

    /// How far the ledger is behind, seconds: for how long already something may have been sent that is not on disk. It does
    /// not depend on the wall clock, which can be set.
    pub fn lag_seconds(&self) -> f64 {
        match self.flushed_mono.load(SeqCst) {
            0 => 0.0,
            flushed => clock::mono().since(MonoUs(flushed)) as f64 / 1e6,
        }
    }

    /// Sets the flag; true if that changed it.
    pub(super) fn set_accepting(&self, accepting: bool) -> bool {
        self.accepting.swap(accepting, SeqCst) != accepting
    }

    /// Everything sent by this moment is on disk.
    pub(super) fn set_flushed_at(&self, at: UnixMs, mono: MonoUs) {
        self.flushed_at.store(at.0, SeqCst);
        self.flushed_mono.store(mono.0.max(1), SeqCst);
    }
}
