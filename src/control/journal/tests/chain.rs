use super::*;
use std::fs;

#[test]
fn a_kill_at_any_byte_of_the_last_group_loses_no_group_before_it() {
    let names = Arc::new(Names::default());
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), &names, 1..=2);
    let before = fs::metadata(segment(whole.path(), 1)).unwrap().len();
    write(whole.path(), &names, [3]);
    let bytes = fs::read(segment(whole.path(), 1)).unwrap();
    for end in before as usize..bytes.len() {
        let cut = tempfile::tempdir().unwrap();
        fs::write(segment(cut.path(), 1), &bytes[..end]).unwrap();
        let (seen, replay) = read(cut.path(), &names).unwrap();
        assert_eq!(seen, [id(1), id(2)], "cut at {end}");
        assert_eq!(replay.torn_bytes, end as u64 - before);
        assert_eq!(fs::metadata(segment(cut.path(), 1)).unwrap().len(), before);
        // What comes next continues the chain.
        write(cut.path(), &names, [4]);
        assert_eq!(read(cut.path(), &names).unwrap().0, [id(1), id(2), id(4)]);
    }
}

#[test]
fn a_tail_of_zeros_as_some_file_systems_leave_it_is_cut_and_kept_aside() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &names, 1..=2);
    let mut bytes = fs::read(segment(dir.path(), 1)).unwrap();
    let end = bytes.len();
    bytes.extend_from_slice(&[0; 5000]);
    fs::write(segment(dir.path(), 1), &bytes).unwrap();
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(1), id(2)]);
    let aside = dir.path().join(format!("journal-0000000001.wal.torn-{end}"));
    assert_eq!(fs::read(aside).unwrap(), [0; 5000]);
}

#[test]
fn a_flipped_bit_anywhere_before_the_last_group_is_refused_with_file_and_offset() {
    let names = Arc::new(Names::default());
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), &names, [1]);
    let last_at = fs::metadata(segment(whole.path(), 1)).unwrap().len() as usize;
    write(whole.path(), &names, [2]);
    let bytes = fs::read(segment(whole.path(), 1)).unwrap();
    for at in 0..last_at {
        let dir = tempfile::tempdir().unwrap();
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(segment(dir.path(), 1), &flipped).unwrap();
        let error = read(dir.path(), &names).expect_err(&format!("flip at {at} went unnoticed"));
        let offset = if at < group::HEADER_BYTES { 0 } else { group::HEADER_BYTES };
        let text = error.to_string();
        assert!(text.contains("journal-0000000001.wal") && text.contains(&format!("byte {offset}:")), "{text}");
        assert!(text.contains("move this file"), "{text}");
        assert_eq!(fs::read(segment(dir.path(), 1)).unwrap(), flipped, "a damaged file must be left as it is");
    }
}

#[test]
fn a_group_taken_out_of_the_middle_is_refused() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &names, [1]);
    let (one, path) = (fs::read(segment(dir.path(), 1)).unwrap().len(), segment(dir.path(), 1));
    write(dir.path(), &names, [2]);
    let two = fs::read(&path).unwrap().len();
    write(dir.path(), &names, [3]);
    let mut bytes = fs::read(&path).unwrap();
    bytes.drain(one..two);
    fs::write(&path, &bytes).unwrap();
    let error = read(dir.path(), &names).unwrap_err().to_string();
    assert!(error.contains("does not continue"), "{error}");
}

#[test]
fn segments_rotate_and_the_chain_goes_on_through_them() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let small = || JournalOptions { segment_bytes_max: 1000, ..options(dir.path(), &names) };
    for n in 1..=20 {
        let (mut journal, _) = Journal::open(small(), |_| ()).unwrap();
        append(&mut journal, &[Entry::Close(record_of(n, &names).into())]);
    }
    let mut seen = Vec::new();
    let (journal, replay) = Journal::open(small(), |r| seen.push(r.request_id)).unwrap();
    drop(journal);
    assert_eq!(seen, (1..=20).map(id).collect::<Vec<_>>());
    assert!(replay.segments >= 4, "{replay:?}");
    assert!(fs::metadata(segment(dir.path(), 1)).unwrap().len() <= 1000);

    let second = fs::read(segment(dir.path(), 2)).unwrap();
    fs::remove_file(segment(dir.path(), 2)).unwrap();
    let error = read(dir.path(), &names).unwrap_err();
    assert!(matches!(&error, JournalError::Missing { path } if *path == segment(dir.path(), 2)), "{error}");

    // A torn end is only forgiven in the newest segment.
    fs::write(segment(dir.path(), 2), &second[..second.len() - 1]).unwrap();
    assert!(matches!(read(dir.path(), &names), Err(JournalError::Damaged { .. })));

    // The oldest segments may be taken away.
    fs::remove_file(segment(dir.path(), 1)).unwrap();
    fs::write(segment(dir.path(), 2), &second).unwrap();
    assert!(read(dir.path(), &names).unwrap().0.len() < 20);
}

#[test]
fn a_segment_whose_creation_was_cut_short_is_begun_anew() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &names, [1]);
    let header = fs::read(segment(dir.path(), 1)).unwrap();
    for length in [0, 50, 95, 96] {
        let mut torn = header[..length].to_vec();
        if length == 96 {
            torn[95] ^= 1;
        }
        fs::write(segment(dir.path(), 2), torn).unwrap();
        assert_eq!(read(dir.path(), &names).unwrap().0, [id(1)], "{length}");
        assert_eq!(fs::metadata(segment(dir.path(), 2)).unwrap().len(), 96);
    }
    write(dir.path(), &names, [2]);
    assert_eq!(read(dir.path(), &names).unwrap().0, [id(1), id(2)]);
}

#[test]
fn a_request_closed_twice_counts_once() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &names, [1, 2, 1]);
    let (seen, replay) = read(dir.path(), &names).unwrap();
    assert_eq!(seen, [id(1), id(2)]);
    assert_eq!((replay.records, replay.duplicates, replay.orphans.len()), (2, 1, 0));
}

#[test]
fn a_request_in_flight_at_a_crash_is_closed_once_with_its_estimate() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut journal, _) = Journal::open(options(dir.path(), &names), |_| ()).unwrap();
        append(&mut journal, &[Entry::Open(open_of(1, &names)), Entry::Open(open_of(2, &names))]);
        append(&mut journal, &[Entry::Close(record_of(2, &names).into())]);
    }
    let mut costs = Vec::new();
    let (journal, replay) = Journal::open(options(dir.path(), &names), |r| costs.push(r.cost)).unwrap();
    drop(journal);
    assert_eq!(costs, [Nanos(2), Nanos(777)]);
    let [orphan] = &replay.orphans[..] else { panic!("{replay:?}") };
    assert_eq!((orphan.request_id, orphan.outcome, orphan.refused_by), (id(1), Outcome::GatewayFailed, Some(CRASH)));
    assert_eq!((orphan.usage.input, orphan.usage_source), (250, UsageSource::Estimated));
    assert_eq!(orphan.ended_at, record_of(2, &names).ended_at);

    let (seen, replay) = read(dir.path(), &names).unwrap();
    assert_eq!((seen, replay.orphans.len(), replay.duplicates), (vec![id(2), id(1)], 0, 0));
}

#[test]
fn two_processes_never_share_a_store() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(dir.path(), &names), |_| ()).unwrap();
    let error = read(dir.path(), &names).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(journal);
    assert!(read(dir.path(), &names).is_ok());
}
