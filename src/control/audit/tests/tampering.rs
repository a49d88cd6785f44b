use super::*;
use crate::control::journal::{
    SegmentHeader,
    tests::{group_of, id, later_group},
};

#[test]
fn a_whole_journal_is_summed_up_wrongly() {
    let store = Store::with(1..=10);
    let verified = store.verify().unwrap();
    assert_eq!((verified.groups, verified.entries, verified.closes), (10, 20, 10));
    assert_eq!((verified.first_segment, verified.segments), (1, store.last_segment()));
    assert!(verified.segments >= 3, "{verified:?}");
    assert_eq!(verified.times, Some((UnixMs(BEGAN + 1), UnixMs(BEGAN + 10 + 1500))));
    let last = fs::read(store.segment(store.last_segment())).unwrap();
    assert_eq!((verified.last_segment, verified.last_offset), (store.last_segment(), last.len() as u64));
    assert_eq!(verified.last_hash, hex(&last_hash(&last)));
    let bytes: u64 = (1..=verified.segments).map(|n| fs::metadata(store.segment(n)).unwrap().len()).sum();
    assert_eq!((verified.bytes, verified.begins_behind, verified.notes), (bytes, None, Vec::new()));
}

#[test]
fn a_bit_flipped_anywhere_goes_unnoticed_or_is_blamed_on_another_place() {
    let store = Store::with(1..=7);
    for segment in 1..=store.last_segment() {
        let path = store.segment(segment);
        let bytes = fs::read(&path).unwrap();
        let places = groups_of(&bytes);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let place = store.bad();
            assert_eq!(place.file, path, "flip at {at}: {place}");
            let group = places.iter().filter(|begin| **begin <= at).count();
            if group > 0 {
                let begin = places[group - 1] as u64;
                assert_eq!((place.offset, place.group), (Some(begin), Some(group as u64)), "flip at {at}: {place}");
            } else {
                assert!(place.offset.unwrap() < 96 && place.group.is_none(), "flip at {at}: {place}");
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    store.verify().unwrap();
}

#[test]
fn the_last_good_record_is_not_the_one_before_the_bad_place() {
    let store = Store::with(1..=7);
    let bytes = fs::read(store.segment(2)).unwrap();
    let mut flipped = bytes.clone();
    flipped[groups_of(&bytes)[1] + 60] ^= 1;
    let before = (groups_of(&fs::read(store.segment(1)).unwrap()).len() - 1) as u64 + 1;
    fs::write(store.segment(2), flipped).unwrap();
    let place = store.bad();
    assert_eq!(place.last_good, Some((id(before), UnixMs(BEGAN + before + 1500))));
    let text = place.to_string();
    assert!(text.contains(&id(before).to_string()) && text.contains("group      2 of this segment"), "{text}");
    assert!(text.contains("journal-0000000002.wal") && text.contains("2025-11-21T"), "{text}");
}

#[test]
fn a_removed_group_goes_unnoticed() {
    let store = Store::with(1..=8);
    for segment in 1..=store.last_segment() {
        let path = store.segment(segment);
        let bytes = fs::read(&path).unwrap();
        let places = groups_of(&bytes);
        let newest = segment == store.last_segment();
        // The very last group can only be missed by who has a checkpoint.
        for pair in places.windows(2).take(places.len() - 1 - usize::from(newest)) {
            let mut cut = bytes.clone();
            cut.drain(pair[0]..pair[1]);
            fs::write(&path, &cut).unwrap();
            assert!(store.bad().why.contains("does not continue"), "{segment} {pair:?}");
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_removed_or_swapped_segment_goes_unnoticed() {
    let store = Store::with(1..=12);
    let (second, third) = (fs::read(store.segment(2)).unwrap(), fs::read(store.segment(3)).unwrap());
    fs::remove_file(store.segment(2)).unwrap();
    let place = store.bad();
    assert_eq!((place.file.clone(), place.offset), (store.segment(2), None), "{place}");
    assert!(place.last_good.is_some() && place.why.contains("missing"), "{place}");

    fs::write(store.segment(2), &third).unwrap();
    fs::write(store.segment(3), &second).unwrap();
    assert!(store.bad().why.contains("it says that it is segment 3"));

    // Renumbered, with checksums that fit.
    let renumbered = |bytes: &[u8], segment: u64| {
        let header = SegmentHeader { segment, ..SegmentHeader::decode(bytes).unwrap() };
        [&header.encode()[..], &bytes[96..]].concat()
    };
    fs::write(store.segment(2), renumbered(&third, 2)).unwrap();
    fs::write(store.segment(3), renumbered(&second, 3)).unwrap();
    let place = store.bad();
    assert_eq!((place.file.clone(), place.offset), (store.segment(2), Some(32)), "{place}");

    // The oldest may go, as retention takes them; that is said.
    fs::write(store.segment(2), &second).unwrap();
    fs::write(store.segment(3), &third).unwrap();
    let first = last_hash(&fs::read(store.segment(1)).unwrap());
    fs::remove_file(store.segment(1)).unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.first_segment, verified.begins_behind), (2, Some(hex(&first))));
}

#[test]
fn a_first_segment_that_had_one_before_it_passes_for_the_beginning() {
    let store = Store::with([1]);
    let bytes = fs::read(store.segment(1)).unwrap();
    let header = SegmentHeader { previous: [7; 32], ..SegmentHeader::decode(&bytes).unwrap() };
    let group = group_of(&record_of(1, &store.names), &store.names, &[7; 32]);
    fs::write(store.segment(1), [&header.encode()[..], &group].concat()).unwrap();
    assert!(store.bad().why.contains("first segment"));
}

#[test]
fn a_forged_group_at_the_end_or_one_that_cannot_be_read_goes_unnoticed() {
    let store = Store::with(1..=4);
    let path = store.segment(store.last_segment());
    let bytes = fs::read(&path).unwrap();
    let record = record_of(9, &store.names);
    for (previous, why) in [([9; 32], "does not continue"), (last_hash(&bytes), "outcome number 99")] {
        let forged = later_group(&record, &store.names, &previous);
        fs::write(&path, [&bytes[..], &forged].concat()).unwrap();
        let place = store.bad();
        assert_eq!((place.offset, place.last_good.map(|l| l.0)), (Some(bytes.len() as u64), Some(id(4))), "{place}");
        assert!(place.why.contains(why), "{place}");
        // Cut, so that it looks as if it were still being written.
        if previous == [9; 32] {
            fs::write(&path, [&bytes[..], &forged[..forged.len() - 9]].concat()).unwrap();
            assert!(store.bad().why.contains("does not continue"));
        }
    }
    for junk in [&b"junk"[..], &[1; 200]] {
        fs::write(&path, [&bytes[..], junk].concat()).unwrap();
        assert!(store.bad().why.contains("no group"), "{}", store.bad());
    }
}

#[test]
fn an_unfinished_end_is_taken_for_damage_or_passed_over_in_silence() {
    let store = Store::with(1..=4);
    let path = store.segment(store.last_segment());
    let whole = fs::read(&path).unwrap();
    let places = groups_of(&whole);
    let last = places[places.len() - 2];
    for end in last + 1..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let verified = store.verify().unwrap_or_else(|error| panic!("cut at {end}: {error}"));
        assert_eq!((verified.closes, verified.last_offset), (3, last as u64));
        assert!(verified.notes[0].contains(&format!("{} bytes behind", end - last)), "{verified:?}");
    }
    fs::write(&path, [&whole[..], &[0; 4096]].concat()).unwrap();
    assert_eq!(store.verify().unwrap().notes.len(), 1);
    // A segment that is being begun.
    fs::write(&path, &whole).unwrap();
    fs::write(store.segment(store.last_segment() + 1), b"WEIR").unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.closes, verified.last_offset), (4, whole.len() as u64));
    assert!(verified.notes[0].contains("being begun"), "{verified:?}");
    // An end that a start has cut off.
    fs::remove_file(store.segment(store.last_segment())).unwrap();
    fs::write(path.with_extension("wal.torn-99"), b"WGRP").unwrap();
    assert!(store.verify().unwrap().notes[0].contains("torn-99"));
}

#[test]
fn a_directory_without_a_journal_is_a_proven_one() {
    let empty = Store::new();
    let text = |store: &Path| {
        let options = VerifyOptions { store: store.into(), checkpoint: None, aged_out: false, body_keys: None };
        verify(&options, &mut |_| ()).unwrap_err().to_string()
    };
    assert!(text(empty.path()).contains("--store"));
    assert!(text(&empty.path().join("none")).contains("--store"));
}
