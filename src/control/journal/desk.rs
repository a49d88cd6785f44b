//! Where changes are handed in to be written, and where whoever made them waits until they are on disk.

use super::JournalHealth;
use crate::control::changes::{CHANGES_WAITING_MAX, Change};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::Thread,
    time::Duration,
};

/// How long whoever makes a change waits for its entry to be on disk. A flush takes milliseconds; a disk that needs longer is
/// in trouble.
pub const CHANGE_WAIT: Duration = Duration::from_secs(2);

/// The entry of a change is not on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// The journal is not written now, or too many changes wait for it: it never will be.
    Refused,
    /// Not within `CHANGE_WAIT`: it is written as soon as the disk takes it, if weir lives that long.
    Late,
    /// Another process is taking over, or has: changes are its business.
    HandedOver,
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the audit's journal cannot be written now, so this change has no entry in it",
            Self::HandedOver => {
                "another process is taking this gateway over and answers here in a moment; nothing was changed, ask again then"
            }
            Self::Late => "the audit's journal has not taken this change's entry yet; it does as soon as its disk does",
        })
    }
}

type Handed = (Change, SyncSender<()>);

/// Hands changes in. Clones hand in at the same desk.
#[derive(Clone)]
pub struct ChangeDesk {
    sender: SyncSender<Handed>,
    health: Arc<JournalHealth>,
    writer: Arc<OnceLock<Thread>>,
}

/// What is waiting for the writer.
pub(super) struct Inbox(Receiver<Handed>);

/// A change that has been handed in.
#[must_use = "whoever makes a change must know whether it is on disk"]
pub struct Receipt(Receiver<()>);

/// Makes both ends.
pub(super) fn door(health: Arc<JournalHealth>) -> (ChangeDesk, Inbox) {
    let (sender, receiver) = sync_channel(CHANGES_WAITING_MAX);
    (ChangeDesk { sender, health, writer: Arc::default() }, Inbox(receiver))
}

impl ChangeDesk {
    /// Hands a change in, even while the journal is not written. Waits for nothing.
    pub fn submit(&self, change: &Change) -> Result<Receipt, NotRecorded> {
        let (told, receipt) = sync_channel(1);
        self.sender.try_send((change.clone(), told)).map_err(|_| NotRecorded::Refused)?;
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
        Ok(Receipt(receipt))
    }

    /// Returns when a change is on disk. To be called where waiting is allowed, before the change takes effect.
    pub fn record(&self, change: &Change) -> Result<(), NotRecorded> {
        if !self.health.is_accepting() {
            return Err(NotRecorded::Refused);
        }
        let recorded = self.submit(change)?.wait();
        if recorded == Err(NotRecorded::Late) {
            // It will not be made: if its entry comes to be written, so does this.
            self.undo(change, "its entry was not on disk in time, so it was not made");
        }
        recorded
    }

    /// A change that was recorded did not happen after all.
    pub fn undo(&self, change: &Change, why: impl fmt::Display) {
        // Nobody waits for it: whoever asked for the change is told that it failed, whatever becomes of this entry.
        if let Err(error) = self.submit(&change.undone(why, super::handle::now())) {
            tracing::error!(change = %change.id, kind = %change.kind, %error, "the audit cannot say that a change did not happen");
        }
    }

    /// The thread to be woken for a change.
    pub(super) fn wakes(&self, writer: Thread) {
        self.writer.get_or_init(|| writer);
    }
}

impl Receipt {
    /// Returns when the change is on disk.
    pub fn wait(self) -> Result<(), NotRecorded> {
        self.0.recv_timeout(CHANGE_WAIT).map_err(|_| NotRecorded::Late)
    }
}

/// Changes of one group, and who waits for them.
#[derive(Default)]
pub(super) struct Receipts {
    changes: Vec<Change>,
    waiting: Vec<SyncSender<()>>,
}

impl Inbox {
    /// Takes what is waiting; true if there may be more.
    pub fn drain(&self, into: &mut Receipts, mut take: impl FnMut(&Change)) -> bool {
        while into.changes.len() < CHANGES_WAITING_MAX {
            let Ok((change, told)) = self.0.try_recv() else { return false };
            take(&change);
            into.changes.push(change);
            into.waiting.push(told);
        }
        true
    }
}

impl Receipts {
    /// The changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// They are on disk.
    pub fn give(self) {
        for waiting in self.waiting {
            // Who no longer waits has been told that it is late.
            let _gone = waiting.try_send(());
        }
    }
}
