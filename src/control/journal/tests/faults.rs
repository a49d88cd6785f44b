use super::*;
use crate::link::up::door;
use parking_lot::Mutex;
use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

/// A disk with so many bytes left, whose sync can be made to fail.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) bytes_left: AtomicU64,
    sync_fails: AtomicBool,
    removal_fails: AtomicBool,
    refusals: AtomicU64,
}

struct FaultyStorage {
    inner: DiskStorage,
    disk: Arc<Disk>,
}

struct FaultySegment {
    inner: Box<dyn SegmentFile>,
    disk: Arc<Disk>,
}

impl FaultyStorage {
    fn boxed(directory: &Path, disk: &Arc<Disk>) -> Box<dyn Storage> {
        Box::new(Self { inner: DiskStorage::new(directory), disk: disk.clone() })
    }
}

impl Storage for FaultyStorage {
    fn create(&mut self, segment: u64, header: &[u8]) -> io::Result<Box<dyn SegmentFile>> {
        if self.disk.bytes_left.load(SeqCst) < header.len() as u64 {
            self.disk.refusals.fetch_add(1, SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(FaultySegment { inner: self.inner.create(segment, header)?, disk: self.disk.clone() }))
    }

    fn reopen(&mut self, segment: u64, length: u64) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultySegment { inner: self.inner.reopen(segment, length)?, disk: self.disk.clone() }))
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        if self.disk.removal_fails.load(SeqCst) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.inner.remove(segment)
    }
}

impl SegmentFile for FaultySegment {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let left = self.disk.bytes_left.load(SeqCst);
        let fits = (bytes.len() as u64).min(left);
        self.inner.write_at(&bytes[..fits as usize], offset)?;
        if fits < bytes.len() as u64 {
            self.disk.refusals.fetch_add(1, SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.bytes_left.store(left - fits, SeqCst);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.sync_fails.load(SeqCst) {
            self.disk.refusals.fetch_add(1, SeqCst);
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inner.sync()
    }
}

/// Collects what has been flushed.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<RequestId>>>);

impl Sink for Seen {
    fn flushed(&mut self, closes: &[Box<Record>], _as_of: UnixMs) {
        self.0.lock().extend(closes.iter().map(|r| r.request_id));
    }
}

pub(super) fn start(dir: &Path, names: &Arc<Names>, disk: &Arc<Disk>) -> (JournalHandle, UpSender, Seen) {
    let opts = JournalOptions { stop_timeout: Duration::from_millis(50), ..options(dir, names) };
    let (journal, _) = Journal::open_in(opts, FaultyStorage::boxed(dir, disk), |_| ()).unwrap();
    let (sender, receiver) = door();
    let seen = Seen::default();
    let handle = journal.start(vec![receiver], seen.clone()).unwrap();
    (handle, sender, seen)
}

pub(super) fn healthy() -> Arc<Disk> {
    Arc::new(Disk { bytes_left: AtomicU64::new(u64::MAX), ..Disk::default() })
}

#[test]
fn records_reach_the_disk_before_anybody_is_told_and_all_of_them_at_the_stop() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let (handle, mut sender, seen) = start(dir.path(), &names, &healthy());
    send(&mut sender, 1, &names);
    until("the first record is flushed", || seen.0.lock().contains(&id(1)));
    // The file as it is now is what a kill would leave.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(segment(dir.path(), 1), segment(copy.path(), 1)).unwrap();
    assert_eq!(read(copy.path(), &names).unwrap().0, [id(1)]);

    (2..=3000).for_each(|n| send(&mut sender, n, &names));
    assert!(handle.health().is_accepting() && handle.health().flushed_at().0 > 0);
    let health = handle.health();
    handle.stop().unwrap();
    assert!(!health.is_accepting());
    let all: Vec<_> = (1..=3000).map(id).collect();
    assert_eq!(*seen.0.lock(), all);
    assert_eq!(read(dir.path(), &names).unwrap().0, all);
}

#[test]
fn a_full_disk_stops_admission_and_loses_nothing_once_there_is_room() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = healthy();
    let (handle, mut sender, seen) = start(dir.path(), &names, &disk);
    send(&mut sender, 1, &names);
    until("the first record is flushed", || seen.0.lock().len() == 1);
    disk.bytes_left.store(100, SeqCst);
    send(&mut sender, 2, &names);
    let flag = handle.health().accepting_flag();
    until("admission stops", || !flag.load(SeqCst));
    send(&mut sender, 3, &names);
    until("it is tried again", || disk.refusals.load(SeqCst) >= 3);
    assert_eq!(seen.0.lock().len(), 1, "nobody is told of what is not on disk");
    disk.bytes_left.store(u64::MAX, SeqCst);
    until("admission goes on", || flag.load(SeqCst));
    handle.stop().unwrap();
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(1), id(2), id(3)]);
}

#[test]
fn a_failed_sync_writes_the_group_again_instead_of_trusting_the_page_cache() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = healthy();
    let (handle, mut sender, seen) = start(dir.path(), &names, &disk);
    disk.sync_fails.store(true, SeqCst);
    send(&mut sender, 1, &names);
    until("the sync has failed twice", || disk.refusals.load(SeqCst) >= 2);
    assert!(seen.0.lock().is_empty());
    disk.sync_fails.store(false, SeqCst);
    handle.stop().unwrap();
    assert_eq!(*seen.0.lock(), [id(1)]);
    assert_eq!(read(dir.path(), &names).unwrap().1.duplicates, 0);
}

#[test]
fn a_stop_against_a_dead_disk_ends_and_says_what_is_lost() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = healthy();
    let (handle, mut sender, _) = start(dir.path(), &names, &disk);
    disk.sync_fails.store(true, SeqCst);
    disk.bytes_left.store(0, SeqCst);
    send(&mut sender, 1, &names);
    let error = handle.stop().unwrap_err();
    // Its note and its close, or the close alone, if both were there when the journal looked.
    assert!(matches!(error, JournalError::Unwritten { entries: 1..=2, .. }), "{error}");
}

#[test]
fn a_rotation_that_finds_the_disk_full_is_tried_again() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = healthy();
    let opts = JournalOptions { segment_bytes_max: 500, ..options(dir.path(), &names) };
    let (mut journal, _) = Journal::open_in(opts, FaultyStorage::boxed(dir.path(), &disk), |_| ()).unwrap();
    append(&mut journal, &[Entry::Close(record_of(1, &names).into()), Entry::Close(record_of(2, &names).into())]);
    let mut builder = GroupBuilder::new();
    builder.push(&codec_of(&Entry::Close(record_of(3, &names).into()), &journal));
    let group = journal.appender.seal(builder);
    for room in [0, 100] {
        disk.bytes_left.store(room, SeqCst);
        assert!(journal.appender.append(&group, UnixMs(1)).is_err());
    }
    disk.bytes_left.store(u64::MAX, SeqCst);
    journal.appender.append(&group, UnixMs(1)).unwrap();
    drop(journal);
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(1), id(2), id(3)]);
}

#[test]
fn a_store_that_cannot_be_made_is_an_error_with_its_path() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = read(&file.join("store"), &names).unwrap_err().to_string();
    assert!(error.contains("create the store") && error.contains("file/store"), "{error}");
}

#[test]
fn a_segment_that_cannot_be_removed_leaves_a_gap_behind_it() {
    let (names, dir) = (Arc::new(Names::default()), tempfile::tempdir().unwrap());
    let disk = healthy();
    let keep = Some(Duration::from_secs(60));
    let opts = JournalOptions { segment_bytes_max: 200, retention: keep, ..options(dir.path(), &names) };
    let storage = FaultyStorage::boxed(dir.path(), &disk);
    let (mut journal, _) = Journal::open_in(opts, storage, |_| ()).unwrap();
    (1..=4).for_each(|n| append(&mut journal, &[Entry::Close(record_of(n, &names).into())]));
    let mut apply = |at: Instant| journal.retention.apply(&mut journal.appender, UnixMs(u64::MAX), at);
    let (now, day) = (Instant::now(), Duration::from_secs(86_400));
    disk.removal_fails.store(true, SeqCst);
    assert!(apply(now + day).is_empty());
    disk.removal_fails.store(false, SeqCst);
    assert_eq!(apply(now + 2 * day), [1, 2, 3]);
}
