//! Who writes snapshots, and when.

use super::{super::LedgerImage, Restored, body, file};
use crate::control::journal::JournalState;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Journal written since the last snapshot before the next is due, at least. Bytes; some 60,000 requests, which a start replays
/// in a tenth of a second.
const TAIL_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// And so many times the last snapshot's size, so that writing snapshots stays a fraction of writing the journal.
const TAIL_PER_SNAPSHOT: u64 = 2;
/// After this time one is due even if little was written.
const INTERVAL: Duration = Duration::from_secs(300);
/// What takes longer is worth a line in the log.
const LONG: Duration = Duration::from_secs(2);

type Job = (LedgerImage, JournalState);

/// Writes snapshots on a thread of its own. Dropped without `stopped`, it leaves what it has written.
pub struct Keeper {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Files>>,
    /// Here while no thread runs.
    files: Option<Files>,
    shared: Arc<Shared>,
    last: Instant,
    /// Another process writes them.
    resting: bool,
}

#[derive(Default)]
struct Shared {
    busy: AtomicBool,
    size: AtomicU64,
    droppable_before: Arc<AtomicU64>,
}

/// The files, as far as they are known to be good.
struct Files {
    directory: PathBuf,
    shared: Arc<Shared>,
    /// Segment and byte up to which the newest covers the journal.
    current: Option<(u64, u64)>,
    /// Segment that the one before it goes on in.
    previous: Option<u64>,
}

impl Keeper {
    /// For the snapshots in the directory of a store. `restored` is what was read of it.
    pub fn new(directory: &Path, restored: Option<&Restored>) -> Self {
        let shared = Arc::new(Shared::default());
        let known = restored.map(|restored| (place(&restored.resume.state), restored.current));
        // What was in the sums of this start may go at once, as far as the file before it has it too.
        if let Some(((segment, _), _)) = known {
            let other = restored.and_then(|restored| restored.other).unwrap_or(segment);
            shared.droppable_before.store(segment.min(other), SeqCst);
        }
        let files = Files {
            directory: directory.into(),
            shared: shared.clone(),
            current: known.filter(|(_, current)| *current).map(|(place, _)| place),
            previous: known.filter(|(_, current)| !current).map(|((segment, _), _)| segment),
        };
        Self { jobs: None, thread: None, files: Some(files), shared, last: Instant::now(), resting: false }
    }

    /// Another process writes them from now on, or no longer. One that is being written is completed first.
    pub fn rest(&mut self, resting: bool) {
        self.resting = resting;
        if resting {
            drop(self.jobs.take());
            let files = self.thread.take().and_then(|thread| thread.join().ok());
            self.files = files.or(self.files.take());
        }
    }

    /// Segments before the one with this number are in the snapshots.
    pub fn droppable_before(&self) -> Arc<AtomicU64> {
        self.shared.droppable_before.clone()
    }

    /// Is one due, now that so many bytes have been written since the last? Never while one is being written.
    pub fn is_due(&self, bytes_since: u64) -> bool {
        if self.resting {
            return false;
        }
        let enough = TAIL_BYTES_MIN.max(TAIL_PER_SNAPSHOT.saturating_mul(self.shared.size.load(SeqCst)));
        (bytes_since >= enough || self.last.elapsed() >= INTERVAL) && !self.shared.busy.load(SeqCst)
    }

    /// Has one written, and returns at once.
    pub fn write(&mut self, image: LedgerImage, state: JournalState) {
        self.last = Instant::now();
        if let Err(error) = self.ensure_thread() {
            tracing::error!(%error, "the thread that writes the ledger's snapshots cannot be started");
            return;
        }
        self.shared.busy.store(true, SeqCst);
        if self.jobs.as_ref().is_none_or(|jobs| jobs.try_send((image, state)).is_err()) {
            self.shared.busy.store(false, SeqCst);
        }
    }

    /// Writes the last one, and returns when it is on disk: nothing else is done any more.
    pub fn stopped(&mut self, image: &LedgerImage, state: &JournalState) {
        if self.resting {
            return;
        }
        drop(self.jobs.take());
        let files = self.thread.take().and_then(|thread| thread.join().ok()).or_else(|| self.files.take());
        if let Some(mut files) = files {
            if files.current != Some(place(state)) {
                files.write(image, state);
            }
            self.files = Some(files);
        }
    }

    fn ensure_thread(&mut self) -> io::Result<()> {
        let Some(files) = self.files.take() else { return Ok(()) };
        let (sender, receiver) = sync_channel(1);
        self.thread = Some(thread::Builder::new().name("weir-snapshot".into()).spawn(move || files.serve(receiver))?);
        self.jobs = Some(sender);
        Ok(())
    }
}

impl Files {
    fn serve(mut self, jobs: Receiver<Job>) -> Self {
        while let Ok((image, state)) = jobs.recv() {
            self.write(&image, &state);
            self.shared.busy.store(false, SeqCst);
        }
        self
    }

    fn write(&mut self, image: &LedgerImage, state: &JournalState) {
        let began = Instant::now();
        // One that is not known to be good must not push out the one before it.
        let kept = self.current.is_some();
        match file::write(&self.directory, kept, |out| body::encode(image, state, out)) {
            Ok(bytes) => {
                let took_ms = began.elapsed().as_millis() as u64;
                self.shared.size.store(bytes, SeqCst);
                self.previous = self.current.map(|(segment, _)| segment).or(self.previous);
                self.shared.droppable_before.store(self.previous.unwrap_or(state.segment()), SeqCst);
                self.current = Some(place(state));
                let segment = state.segment();
                if began.elapsed() >= LONG {
                    tracing::info!(segment, bytes, took_ms, "ledger snapshot written");
                } else {
                    tracing::debug!(segment, bytes, took_ms, "ledger snapshot written");
                }
            }
            Err(error) => tracing::warn!(
                %error, directory = %self.directory.display(),
                "the ledger's snapshot cannot be written; the one before stays, and a start takes longer"
            ),
        }
    }
}

fn place(state: &JournalState) -> (u64, u64) {
    (state.place.segment, state.place.offset)
}
