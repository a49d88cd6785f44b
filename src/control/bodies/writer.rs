//! The thread that stores bodies: take from the lanes, gather, seal, write, sync.
//!
//! It never drops what it was given while it runs: against a disk that refuses it tries again and again, says so by its flag, and
//! the lanes fill up; what to do then is the shards' business (`audit.on_body_overflow`).

use super::{
    BODY_SEGMENT_BYTES_MAX, FRAME_CONTENT, GATHERED_MAX,
    files::{age_out, create, segments, write_index},
    frame::{HEADER_BYTES, Sealer},
    key::BodyKey,
};
use crate::{
    kernel::{ids::RequestId, time::UnixMs},
    link::bodies::{BodyItem, BodyReceiver, ExchangeEnd, StoreTakes, Way},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long the thread sleeps when the lanes are empty: how late a body may be on disk.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// The same, while no team's bodies are kept.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait before a refused write is tried again: at first, and at most.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(20);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a lasting refusal is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked whether a segment may go.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);
/// Items taken before what they came to is written.
const PASS_ITEMS: usize = 4096;
/// Sealed bytes before they are written. Bytes.
const OUT_BYTES: usize = 4 * 1024 * 1024;

/// How bodies are kept.
#[derive(Clone)]
pub struct BodySettings {
    /// What they are encrypted with.
    pub key: BodyKey,
    /// When the next segment begins. Bytes.
    pub segment_bytes_max: u64,
    /// How long bodies are kept, at least; whole segments older than that are dropped.
    pub retention: Duration,
}

impl BodySettings {
    /// The defaults: 256 MiB, 30 days.
    pub fn new(key: BodyKey) -> Self {
        Self { key, segment_bytes_max: BODY_SEGMENT_BYTES_MAX, retention: Duration::from_secs(30 * 86_400) }
    }
}

struct Shared {
    settings: Mutex<Option<BodySettings>>,
    renewed: AtomicBool,
    stop: AtomicBool,
    takes: StoreTakes,
}

/// Where it is said how bodies are kept; outlives reloads.
#[derive(Clone)]
pub struct BodyDesk(Arc<Shared>);

/// The running store of bodies.
pub struct BodyStore {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), String>>,
}

impl BodyDesk {
    /// The desk of a store that is still to be started. Without settings it stores nothing, and its flag says so.
    pub fn new(settings: Option<BodySettings>) -> Self {
        let takes = StoreTakes::default();
        takes.store(settings.is_some(), SeqCst);
        let (settings, renewed, stop) = (Mutex::new(settings), AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Shared { settings, renewed, stop, takes }))
    }

    /// Whether the store takes anything; for the lanes.
    pub fn takes(&self) -> StoreTakes {
        self.0.takes.clone()
    }

    /// From now on they are kept like this; to be said before a configuration that wants it counts. With none, what is on its
    /// way is kept as before.
    pub fn configure(&self, settings: Option<BodySettings>) {
        let mut current = self.0.settings.lock();
        if current.is_some() != settings.is_some() {
            self.0.takes.store(settings.is_some(), SeqCst);
        }
        *current = settings;
        self.0.renewed.store(true, SeqCst);
    }
}

impl BodyStore {
    /// Starts the thread. `stop_timeout`: how long `stop` tries to write against a disk that refuses.
    pub fn start(
        directory: PathBuf,
        receivers: Vec<BodyReceiver>,
        desk: &BodyDesk,
        stop_timeout: Duration,
    ) -> io::Result<Self> {
        let shared = desk.0.clone();
        let settings = shared.settings.lock().clone();
        let done = vec![0; receivers.len()];
        let writer = Writer {
            directory,
            receivers,
            settings,
            shared: shared.clone(),
            stop_timeout,
            open: None,
            gathered: HashMap::new(),
            gathered_bytes: 0,
            done,
            aged_at: None,
        };
        let thread = thread::Builder::new().name("weir-bodies".into()).spawn(move || writer.run())?;
        Ok(Self { shared, thread })
    }

    /// Stores everything that has been sent, completes the segment, and ends. Call it when the shards have sent their last.
    pub fn stop(self) -> Result<(), String> {
        self.shared.stop.store(true, SeqCst);
        self.thread.thread().unpark();
        self.thread
            .join()
            .unwrap_or_else(|_| Err("the thread that stores bodies has died; see the panic in the log".into()))
    }
}

struct Writer {
    directory: PathBuf,
    receivers: Vec<BodyReceiver>,
    settings: Option<BodySettings>,
    shared: Arc<Shared>,
    stop_timeout: Duration,
    open: Option<Segment>,
    gathered: HashMap<(RequestId, Way), Gathered>,
    gathered_bytes: usize,
    /// Bytes of each lane that are sealed and will be on disk with the next write.
    done: Vec<usize>,
    aged_at: Option<Instant>,
}

struct Gathered {
    lane: usize,
    bytes: Vec<u8>,
}

struct Segment {
    number: u64,
    file: File,
    sealer: Sealer,
    key: BodyKey,
    /// Where the next write goes. Bytes.
    end: u64,
    out: Vec<u8>,
    first_frames: HashMap<RequestId, u64>,
}

/// Whatever ends the thread, a panic too, no body is promised to be kept any more afterwards.
struct TakesNothingAtEnd(StoreTakes);

impl Drop for TakesNothingAtEnd {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

impl Writer {
    fn run(mut self) -> Result<(), String> {
        let _guard = TakesNothingAtEnd(self.shared.takes.clone());
        loop {
            // Read before the lanes are emptied, so that the last pass sees all that was sent before the stop.
            let stopping = self.shared.stop.load(SeqCst);
            self.renew()?;
            let more = self.pass()?;
            if more {
                continue;
            }
            if stopping {
                self.seal_all()?;
                return self.complete();
            }
            self.age();
            thread::park_timeout(if self.settings.is_some() { FLUSH_INTERVAL } else { IDLE_INTERVAL });
        }
    }

    /// Takes new settings. Another key begins another segment.
    fn renew(&mut self) -> Result<(), String> {
        if !self.shared.renewed.swap(false, SeqCst) {
            return Ok(());
        }
        let renewed = self.shared.settings.lock().clone();
        let Some(renewed) = renewed else { return Ok(()) };
        if self.open.as_ref().is_some_and(|open| open.key != renewed.key) {
            self.complete()?;
        }
        self.settings = Some(renewed);
        Ok(())
    }

    /// Takes what is waiting and writes what became of it; true if there may be more.
    fn pass(&mut self) -> Result<bool, String> {
        let mut more = false;
        for lane in 0..self.receivers.len() {
            let mut taken = 0;
            while taken < PASS_ITEMS {
                let Some(item) = self.receivers[lane].take() else { break };
                taken += 1;
                self.item(lane, item)?;
            }
            more |= taken == PASS_ITEMS;
        }
        self.write()?;
        Ok(more)
    }

    fn item(&mut self, lane: usize, item: BodyItem) -> Result<(), String> {
        match item {
            BodyItem::Chunk { id, way, bytes } => {
                let gathered = self.gathered.entry((id, way)).or_insert_with(|| Gathered { lane, bytes: Vec::new() });
                gathered.bytes.extend_from_slice(&bytes);
                self.gathered_bytes += bytes.len();
                if gathered.bytes.len() >= FRAME_CONTENT {
                    self.seal(id, way)?;
                }
                if self.gathered_bytes > GATHERED_MAX {
                    self.seal_all()?;
                }
            }
            BodyItem::End { id, end } => self.end(id, &end)?,
        }
        Ok(())
    }

    fn end(&mut self, id: RequestId, end: &ExchangeEnd) -> Result<(), String> {
        self.seal(id, Way::Request)?;
        self.seal(id, Way::Response)?;
        let segment = self.segment()?;
        segment.noted(id);
        let Segment { sealer, out, .. } = segment;
        sealer.end(id, end, out).ok_or("AES-GCM refused to seal")?;
        self.write_if_much()
    }

    /// Makes a frame of what was gathered of one body.
    fn seal(&mut self, id: RequestId, way: Way) -> Result<(), String> {
        let Some(Gathered { lane, bytes }) = self.gathered.remove(&(id, way)) else { return Ok(()) };
        self.gathered_bytes -= bytes.len();
        self.done[lane] += bytes.len();
        let segment = self.segment()?;
        segment.noted(id);
        let Segment { sealer, out, .. } = segment;
        for content in bytes.chunks(super::FRAME_CONTENT_MAX) {
            sealer.bytes(id, way, content, out).ok_or("AES-GCM refused to seal")?;
        }
        self.write_if_much()
    }

    fn seal_all(&mut self) -> Result<(), String> {
        let all: Vec<_> = self.gathered.keys().copied().collect();
        all.into_iter().try_for_each(|(id, way)| self.seal(id, way))
    }

    /// The segment being written; begun if there is none.
    fn segment(&mut self) -> Result<&mut Segment, String> {
        if self.open.is_none() {
            let key = self.settings.as_ref().map(|settings| settings.key.clone());
            let key = key.ok_or("bodies arrived, and there is no key for them")?;
            let begun = self.persist(|directory| begin(directory, &key))?;
            self.open = Some(begun);
        }
        self.open.as_mut().ok_or_else(|| "no segment".into())
    }

    fn write_if_much(&mut self) -> Result<(), String> {
        if self.open.as_ref().is_some_and(|open| open.out.len() >= OUT_BYTES) { self.write() } else { Ok(()) }
    }

    /// Puts the sealed frames on disk, and lets the lanes know. A full segment is ended.
    fn write(&mut self) -> Result<(), String> {
        self.flush()?;
        let max = self.settings.as_ref().map_or(u64::MAX, |settings| settings.segment_bytes_max);
        if self.open.as_ref().is_some_and(|open| open.end >= max) { self.complete() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        let Some(open) = self.open.as_ref().filter(|open| !open.out.is_empty()) else { return Ok(()) };
        self.persist(|_| {
            open.file.write_all_at(&open.out, open.end)?;
            open.file.sync_data()
        })?;
        if let Some(open) = &mut self.open {
            open.end += open.out.len() as u64;
            open.out.clear();
        }
        for (receiver, done) in self.receivers.iter().zip(&mut self.done) {
            receiver.done(std::mem::take(done));
        }
        Ok(())
    }

    /// Ends the segment being written, and writes its index.
    fn complete(&mut self) -> Result<(), String> {
        self.flush()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut last = Vec::new();
        open.sealer.finish(&mut last).ok_or("AES-GCM refused to seal")?;
        let (file, end) = (open.file, open.end);
        self.persist(|_| {
            file.write_all_at(&last, end)?;
            file.sync_data()
        })?;
        if let Err(error) = write_index(&self.directory, open.number, open.first_frames.into_iter().collect()) {
            tracing::warn!(segment = open.number, %error, "the index of a segment of bodies cannot be written; searches take longer");
        }
        Ok(())
    }

    /// Does something with the disk, however often it takes. Meanwhile the lanes fill up.
    fn persist<T>(&self, mut act: impl FnMut(&std::path::Path) -> io::Result<T>) -> Result<T, String> {
        let mut wait = RETRY_WAIT_MIN;
        let (mut complained, mut stopping_since): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let error = match act(&self.directory) {
                Ok(done) => break Ok(done).inspect(|_| self.takes_again(complained.is_some())),
                Err(error) => error,
            };
            self.shared.takes.store(false, SeqCst);
            if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                tracing::error!(%error, "bodies cannot be stored; trying again (audit.on_body_overflow says what becomes of requests)");
                complained = Some(Instant::now());
            }
            if self.shared.stop.load(SeqCst)
                && stopping_since.get_or_insert_with(Instant::now).elapsed() >= self.stop_timeout
            {
                let bytes = self.gathered_bytes + self.done.iter().sum::<usize>();
                return Err(format!("some {bytes} bytes of bodies could not be stored before the end: {error}"));
            }
            thread::park_timeout(wait);
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }

    fn takes_again(&self, was_refused: bool) {
        if was_refused {
            let settings = self.shared.settings.lock();
            self.shared.takes.store(settings.is_some(), SeqCst);
            tracing::info!("bodies are stored again");
        }
    }

    fn age(&mut self) {
        let Some(settings) = &self.settings else { return };
        if self.aged_at.is_some_and(|at| at.elapsed() < RETENTION_INTERVAL) {
            return;
        }
        self.aged_at = Some(Instant::now());
        match age_out(&self.directory, settings.retention, now()) {
            Ok(retained) if retained.dropped > 0 => {
                tracing::info!(dropped = retained.dropped, left = retained.left, "aged segments of bodies dropped");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "aged segments of bodies cannot be removed; trying again in an hour"),
        }
    }
}

impl Segment {
    /// A frame of this request comes next.
    fn noted(&mut self, id: RequestId) {
        let at = self.end + self.out.len() as u64;
        self.first_frames.entry(id).or_insert(at);
    }
}

/// Begins the next segment. A refused one leaves a file that the next try begins anew.
fn begin(directory: &std::path::Path, key: &BodyKey) -> io::Result<Segment> {
    let number = segments(directory)?.last().map_or(1, |last| last + 1);
    let (sealer, header) =
        Sealer::begin(number, now(), key).ok_or_else(|| io::Error::other("no randomness from the system"))?;
    let file = create(directory, number, &header)?;
    Ok(Segment {
        number,
        file,
        sealer,
        key: key.clone(),
        end: HEADER_BYTES as u64,
        out: Vec::new(),
        first_frames: HashMap::new(),
    })
}

fn now() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
