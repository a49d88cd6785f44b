use super::*;
use crate::control::journal::{retention::Retention, storage::segments};

const DAY: u64 = 86_400_000;
/// When the first records of these tests ended, and a little more.
const BEGAN: u64 = 1_763_700_010_000;

/// Ten segments of one group each, a day between them.
fn store(dir: &Path, names: &Arc<Names>, keep: Option<Duration>) -> Journal {
    let opts = JournalOptions { segment_bytes_max: 200, retention: keep, ..options(dir, names) };
    let (mut journal, _) = Journal::open(opts, |_| ()).unwrap();
    journal.retention = Retention::new(keep, std::collections::VecDeque::new());
    for n in 0..10 {
        let mut record = record_of(n, names);
        record.ended_at = UnixMs(BEGAN + n * DAY);
        append_at(&mut journal, &[Entry::Close(record.into())], UnixMs(BEGAN + n * DAY));
    }
    assert_eq!(segments(dir).unwrap(), (1..=10).collect::<Vec<_>>());
    journal
}

fn drop_aged(journal: &mut Journal, now: u64, at: Instant) -> Vec<u64> {
    let Journal { retention, appender, .. } = journal;
    retention.apply(appender, UnixMs(now), at)
}

#[test]
fn a_segment_that_is_still_wanted_or_written_is_dropped_or_an_old_one_kept() {
    let (names, dir) = (Arc::new(Names::default()), tempfile::tempdir().unwrap());
    let mut journal = store(dir.path(), &names, Some(Duration::from_secs(3 * 86_400)));
    let at = Instant::now();
    // Three days after the fifth record: it is kept to the millisecond.
    assert_eq!(drop_aged(&mut journal, BEGAN + 7 * DAY, at), [1, 2, 3, 4]);
    assert_eq!(segments(dir.path()).unwrap(), [5, 6, 7, 8, 9, 10]);
    // Once a day is enough.
    assert!(drop_aged(&mut journal, BEGAN + 20 * DAY, at + Duration::from_secs(3600)).is_empty());
    assert_eq!(drop_aged(&mut journal, BEGAN + 20 * DAY, at + Duration::from_secs(86_400)), [5, 6, 7, 8, 9]);
    assert_eq!(segments(dir.path()).unwrap(), [10], "the segment being written stays, however old");
    append(&mut journal, &[Entry::Close(record_of(77, &names).into())]);
    drop(journal);
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(9), id(77)], "what remains is one chain");
}

#[test]
fn a_journal_without_retention_loses_a_segment() {
    let (names, dir) = (Arc::new(Names::default()), tempfile::tempdir().unwrap());
    let mut journal = store(dir.path(), &names, None);
    assert!(drop_aged(&mut journal, u64::MAX, Instant::now()).is_empty());
    assert_eq!(segments(dir.path()).unwrap().len(), 10);
}

#[test]
fn a_start_keeps_what_has_aged_or_the_cut_ends_beside_it() {
    let (names, dir) = (Arc::new(Names::default()), tempfile::tempdir().unwrap());
    drop(store(dir.path(), &names, None));
    for name in ["journal-0000000002.wal.torn-300", "journal-0000000010.wal.torn-300"] {
        std::fs::write(dir.path().join(name), b"WGRP").unwrap();
    }
    // The first segment's header was written now, whatever its records say: so it holds the others back.
    let keep = Some(Duration::from_secs(3600));
    let opts = || JournalOptions { retention: keep, ..options(dir.path(), &names) };
    drop(Journal::open(opts(), |_| ()).unwrap());
    assert_eq!(segments(dir.path()).unwrap().len(), 10);
    std::fs::remove_file(segment(dir.path(), 1)).unwrap();
    let mut seen = 0;
    drop(Journal::open(opts(), |_| seen += 1).unwrap());
    assert_eq!(segments(dir.path()).unwrap(), [10]);
    assert_eq!(seen, 9, "what goes at a start has been counted at that start");
    assert!(!dir.path().join("journal-0000000002.wal.torn-300").exists());
    assert!(dir.path().join("journal-0000000010.wal.torn-300").exists());
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(9)]);
}
