use super::*;
use crate::control::journal::tests::{drop_aged, segment};
use std::{
    fs,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

/// Three groups, a snapshot; three more, another; three more.
fn two_snapshots(segment_bytes_max: u64) -> Running {
    let mut running = Running::new(segment_bytes_max, 1000);
    for n in 1..=9 {
        running.group(&[Entry::Close(record_of(n, &running.names).into())]);
        if n % 3 == 0 && n < 9 {
            running.snapshot();
        }
    }
    running
}

fn sums(directory: &Path) -> Option<(u64, bool)> {
    let store = Store::take(directory).unwrap();
    let restored = load(&store, &Arc::new(Names::default()))?;
    Some((restored.ledger.usage(&UsageQuery::default())[0].sums.requests, restored.current))
}

fn change(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_snapshot_is_believed_or_the_one_before_it_is_not_tried() {
    let directory = two_snapshots(100_000).end();
    let (current, previous) = (directory.path().join(CURRENT), directory.path().join(PREVIOUS));
    assert_eq!(sums(directory.path()), Some((6, true)));
    let (good, length) = (fs::read(&current).unwrap(), fs::metadata(&current).unwrap().len() as usize);
    for at in (0..length).step_by(7).chain([length - 1]) {
        change(&current, at);
        assert_eq!(sums(directory.path()), Some((3, false)), "byte {at} of {length}");
        fs::write(&current, &good).unwrap();
    }
    for cut in [0, 1, 63, 64, 65, length / 2, length - 1] {
        fs::write(&current, &good[..cut]).unwrap();
        assert_eq!(sums(directory.path()), Some((3, false)), "cut to {cut}");
    }
    change(&previous, 100);
    assert_eq!(sums(directory.path()), None);
    let whole = copy(directory.path());
    assert_eq!(start(directory.path(), true, 1000), start(whole.path(), false, 1000));
    fs::remove_file(&current).unwrap();
    fs::remove_file(&previous).unwrap();
    assert_eq!(sums(directory.path()), None);
}

#[test]
fn a_snapshot_of_a_later_weir_is_read_as_one_of_ours() {
    let directory = two_snapshots(100_000).end();
    let path = directory.path().join(CURRENT);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(file::read(&path), Err(SnapshotError::Newer(2))));
    assert_eq!(sums(directory.path()), Some((3, false)));
}

#[test]
fn a_snapshot_of_another_store_counts() {
    let (ours, theirs) = (two_snapshots(100_000).end(), tempfile::tempdir().unwrap());
    let mut other = Running::new(100_000, 1000);
    // As long as ours to the byte, with other records.
    (11..=19).for_each(|n| other.group(&[Entry::Close(record_of(n, &other.names).into())]));
    other.snapshot_kept(false);
    fs::copy(other.path().join(CURRENT), theirs.path().join(CURRENT)).unwrap();
    for name in [CURRENT, PREVIOUS] {
        fs::copy(theirs.path().join(CURRENT), ours.path().join(name)).unwrap();
    }
    assert_eq!(sums(ours.path()), None);
    // Nor one of a journal that has lost its end since.
    let cut = two_snapshots(300).end();
    let last = *segments(cut.path()).unwrap().last().unwrap();
    for number in 3..=last {
        fs::remove_file(segment(cut.path(), number)).unwrap();
    }
    assert_eq!(sums(cut.path()), None);
}

#[test]
fn a_change_before_the_snapshot_breaks_the_chain_unseen() {
    let directory = two_snapshots(300).end();
    let numbers = segments(directory.path()).unwrap();
    assert!(numbers.len() >= 8, "{numbers:?}");
    assert_eq!(sums(directory.path()), Some((6, true)));
    let second = segment(directory.path(), 2);
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(sums(directory.path()), None, "a segment was cut");
    fs::remove_file(&second).unwrap();
    assert_eq!(sums(directory.path()), None, "a segment is missing");
    // The full replay that follows says what it is.
    let names = Arc::new(Names::default());
    let error = Journal::open(options(directory.path(), &names), |_| ()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("is missing between others"), "{error}");
}

#[test]
fn segments_leave_before_two_snapshots_cover_them_or_their_sums_leave_with_them() {
    let mut running = Running::new(300, 1000);
    let mut keeper = Keeper::new(running.path(), None);
    let before = keeper.droppable_before();
    for n in 1..=4 {
        running.group(&[Entry::Close(record_of(n, &running.names).into())]);
    }
    assert_eq!(before.load(SeqCst), 0, "nothing covers anything yet");
    keeper.stopped(&running.ledger.image(), &running.state());
    assert_eq!(before.load(SeqCst), running.state().segment());
    let first = running.state().segment();
    (5..=8).for_each(|n| running.group(&[Entry::Close(record_of(n, &running.names).into())]));
    keeper.stopped(&running.ledger.image(), &running.state());
    assert_eq!(before.load(SeqCst), first, "the one before covers less");
    let told_before = told(&running.ledger);
    let dropped = drop_aged(&mut running.journal, before.clone());
    assert_eq!(dropped, (1..first).collect::<Vec<_>>());
    let directory = running.end();
    assert_eq!(segments(directory.path()).unwrap()[0], first);
    for name in [CURRENT, PREVIOUS] {
        assert!(read(directory.path(), name, &Arc::default(), 1000).is_ok(), "{name} still fits");
    }
    assert_eq!(start(directory.path(), true, 1000).0, told_before, "sums of dropped records are still there");
}

#[test]
fn a_snapshot_that_cannot_be_written_harms_the_one_there_is() {
    let running = two_snapshots(100_000);
    let fails = file::write(running.path(), true, |_| Err(std::io::ErrorKind::StorageFull.into()));
    assert_eq!(fails.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(!running.path().join(UNFINISHED).exists(), "it leaves the room to others");
    let directory = running.end();
    assert_eq!(sums(directory.path()), Some((6, true)));
}

#[test]
fn a_keeper_writes_beside_its_caller_and_for_the_last_time_before_it_returns() {
    let mut running = Running::new(100_000, 1000);
    let directory = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(directory.path(), None);
    assert!(!keeper.is_due(1) && keeper.is_due(u64::MAX));
    running.group(&[Entry::Close(record_of(1, &running.names).into())]);
    keeper.write(running.ledger.image(), running.state());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !keeper.is_due(u64::MAX) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let first = fs::read(directory.path().join(CURRENT)).unwrap();
    keeper.stopped(&running.ledger.image(), &running.state());
    assert!(!directory.path().join(PREVIOUS).exists(), "what is covered already is not written again");
    running.group(&[Entry::Close(record_of(2, &running.names).into())]);
    keeper.stopped(&running.ledger.image(), &running.state());
    assert_eq!(fs::read(directory.path().join(PREVIOUS)).unwrap(), first);
    assert!(fs::metadata(directory.path().join(CURRENT)).unwrap().len() > 64);
}

#[test]
fn a_million_cells_are_read_slowly() {
    // Not a benchmark: that a snapshot at its cap is whole again, each cell once.
    let mut running = Running::new(100_000_000, 60_000);
    for n in 0..50_000_u64 {
        let mut record = record_of(n, &running.names);
        record.session = crate::kernel::record::inline(format!("session-{n}").as_bytes());
        running.ledger.apply(&record);
    }
    running.snapshot();
    let (ledger, _) = read(running.path(), CURRENT, &Arc::new(Names::default()), 60_000).unwrap();
    assert_eq!(told(&ledger), told(&running.ledger));
}
