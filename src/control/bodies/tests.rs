//! What must never happen to a stored body, one test each.

use super::{
    files::{age_out, header, look_up, segment_path},
    *,
};
use crate::{
    kernel::{
        ids::{RequestId, ShardId},
        time::UnixMs,
    },
    link::bodies::{BodyEnd, BodySender, ExchangeEnd, Way, lane},
};
use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

fn id(n: u64) -> RequestId {
    RequestId::new(1_763_700_000_000 + n, ShardId(0), n)
}

fn key(n: u8) -> BodyKey {
    BodyKey::new([n; 32])
}

fn keys(numbers: &[u8]) -> KeyRing {
    KeyRing::of(numbers.iter().map(|n| key(*n)).collect())
}

fn end_of(request: &[u8], response: &[u8]) -> ExchangeEnd {
    let end = |bytes: &[u8]| BodyEnd {
        bytes: bytes.len() as u64,
        sha256: digest(&SHA256, bytes).as_ref().try_into().unwrap(),
        cut: false,
    };
    ExchangeEnd { request: end(request), response: end(response), dropped: false }
}

fn settings(segment_bytes_max: u64) -> BodySettings {
    BodySettings { segment_bytes_max, ..BodySettings::new(key(1)) }
}

fn start(directory: &Path, settings: BodySettings) -> (BodyStore, BodySender) {
    let (store, sender, _) = start_with_desk(directory, settings);
    (store, sender)
}

fn start_with_desk(directory: &Path, settings: BodySettings) -> (BodyStore, BodySender, BodyDesk) {
    let desk = BodyDesk::new(Some(settings));
    let (sender, receiver) = lane(desk.takes());
    let patience = Duration::from_millis(100);
    (BodyStore::start(directory.into(), vec![receiver], &desk, patience).unwrap(), sender, desk)
}

fn send(sender: &mut BodySender, n: u64, request: &[u8], response: &[u8]) {
    assert!(sender.send(id(n), Way::Request, request.into()));
    // As a stream brings it.
    response.chunks(10_000).for_each(|chunk| assert!(sender.send(id(n), Way::Response, chunk.into())));
    assert!(sender.end(id(n), end_of(request, response)));
}

type Both = (Vec<u8>, Vec<u8>, Body);
type All = (Vec<(RequestId, Part)>, Option<SegmentEnd>);

fn read(directory: &Path, n: u64, keys: &KeyRing) -> Result<Option<Both>, BodyError> {
    let (mut request, mut response) = (Vec::new(), Vec::new());
    let mut show = |way: Way, bytes: &[u8]| {
        let into = if way == Way::Request { &mut request } else { &mut response };
        into.extend_from_slice(bytes);
        Ok(())
    };
    let body = find(directory, id(n), keys, &mut show)?;
    Ok(body.map(|body| (request, response, body)))
}

/// All frames of a segment, and how it ends.
fn all(directory: &Path, segment: u64) -> Result<All, BodyError> {
    let Some(mut frames) = frames(directory, segment, &keys(&[1]))? else { return Ok((Vec::new(), None)) };
    let mut parts = Vec::new();
    while let Some(part) = frames.next(None)? {
        parts.push(part);
    }
    Ok((parts, frames.end()))
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_body_comes_back_other_than_it_was_or_stands_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut sender) = start(dir.path(), settings(u64::MAX));
    let prompt = b"{\"model\":\"m\",\"messages\":\"a marked prompt\"}".repeat(500);
    let answer: Vec<u8> = (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    (1..=20).for_each(|n| send(&mut sender, n, &prompt[..prompt.len() - n as usize], &answer[n as usize..]));
    store.stop().unwrap();
    for n in 1..=20 {
        let (request, response, body) = read(dir.path(), n, &keys(&[2, 1])).unwrap().unwrap();
        assert!(request == prompt[..prompt.len() - n as usize] && response == answer[n as usize..]);
        assert_eq!(body.end, Some(end_of(&request, &response)));
    }
    assert!(read(dir.path(), 99, &keys(&[1])).unwrap().is_none());
    let on_disk = fs::read(segment_path(dir.path(), 1)).unwrap();
    assert!(memchr::memmem::find(&on_disk, b"marked prompt").is_none());
    let error = read(dir.path(), 1, &keys(&[2])).unwrap_err().to_string();
    assert!(error.contains("wants body key"), "{error}");
    assert_eq!(sender.waiting(), 0);
}

#[test]
fn a_full_segment_goes_on_or_a_restart_goes_on_with_an_old_key() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut sender, desk) = start_with_desk(dir.path(), settings(4000));
    let noise: Vec<u8> = (0..1500u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for n in 1..=5 {
        send(&mut sender, n, b"ask", &noise);
        until("it is written", || sender.waiting() == 0);
    }
    // Another key begins another segment at once.
    desk.configure(Some(BodySettings { key: key(2), ..settings(u64::MAX) }));
    until("the new key counts", || {
        send(&mut sender, 6, b"ask", b"answer");
        until("it is written", || sender.waiting() == 0);
        numbers(dir.path()).unwrap().iter().any(|n| header(dir.path(), *n).unwrap().unwrap().key == key(2).id())
    });
    store.stop().unwrap();
    let before = numbers(dir.path()).unwrap();
    assert!(before.len() >= 6, "{before:?}");
    assert!(look_up(dir.path(), 1, id(1)).unwrap().is_some() && look_up(dir.path(), 1, id(5)).unwrap().is_none());
    let (store, mut sender) = start(dir.path(), settings(u64::MAX));
    send(&mut sender, 7, b"ask", b"answer");
    store.stop().unwrap();
    assert_eq!(numbers(dir.path()).unwrap().len(), before.len() + 1, "a restart never goes on with a segment");
    for n in 1..=7 {
        assert!(read(dir.path(), n, &keys(&[1, 2])).unwrap().is_some_and(|(request, ..)| request.starts_with(b"ask")));
    }
    let data_keys: std::collections::HashSet<Vec<u8>> = numbers(dir.path())
        .unwrap()
        .iter()
        .map(|n| fs::read(segment_path(dir.path(), *n)).unwrap()[40..100].to_vec())
        .collect();
    assert_eq!(data_keys.len(), before.len() + 1, "each segment has a data key and a nonce of its own");
}

#[test]
fn an_exchange_that_was_cut_by_a_crash_passes_for_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut sender) = start(dir.path(), settings(u64::MAX));
    send(&mut sender, 1, b"one", b"first");
    assert!(sender.send(id(2), Way::Request, b"two".as_slice().into()));
    store.stop().unwrap();
    let (request, response, body) = read(dir.path(), 2, &keys(&[1])).unwrap().unwrap();
    assert_eq!((request.as_slice(), response.len(), body.end), (&b"two"[..], 0, None));
    assert!(read(dir.path(), 1, &keys(&[1])).unwrap().unwrap().2.end.is_some());
}

#[test]
fn an_aged_segment_stays_or_a_young_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut sender) = start(dir.path(), settings(1));
    for n in 1..=4 {
        send(&mut sender, n, b"ask", b"answer");
        until("it is written", || sender.waiting() == 0);
    }
    store.stop().unwrap();
    let all = numbers(dir.path()).unwrap();
    let last = header(dir.path(), *all.last().unwrap()).unwrap().unwrap().created_at;
    let day = Duration::from_secs(86_400);
    let gone = age_out(dir.path(), day, UnixMs(last.0 + 1000)).unwrap();
    assert_eq!((gone.dropped, gone.left), (0, all.len()));
    let gone = age_out(dir.path(), day, UnixMs(last.0 + 86_400_001)).unwrap();
    assert_eq!((gone.dropped, gone.left), (all.len() - 1, 1), "the newest one stays");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "its index too, and nothing else");
}

#[test]
fn a_disk_that_refuses_loses_a_body_or_holds_up_the_end_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be: nothing can be stored.
    let place = dir.path().join("bodies");
    fs::write(&place, b"").unwrap();
    let (store, mut sender) = start(&place, settings(u64::MAX));
    send(&mut sender, 1, b"ask", b"answer");
    until("the flag is down", || !sender.has_room(0));
    fs::remove_file(&place).unwrap();
    until("it is stored", || sender.waiting() == 0 && sender.has_room(0));
    store.stop().unwrap();
    assert!(read(&place, 1, &keys(&[1])).unwrap().is_some());

    let other = dir.path().join("other");
    fs::write(&other, b"").unwrap();
    let (store, mut sender) = start(&other, settings(u64::MAX));
    send(&mut sender, 1, b"ask", b"answer");
    let error = store.stop().unwrap_err();
    assert!(error.contains("could not be stored"), "{error}");
}

/// A finished segment of a few exchanges.
fn small() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut sender) = start(dir.path(), settings(u64::MAX));
    (1..=3).for_each(|n| send(&mut sender, n, b"ask ask ask", &b"answer".repeat(n as usize)));
    store.stop().unwrap();
    let bytes = fs::read(segment_path(dir.path(), 1)).unwrap();
    (dir, bytes)
}

#[test]
fn a_cut_anywhere_gives_more_than_whole_frames_or_an_error() {
    let (dir, bytes) = small();
    let (whole, end) = all(dir.path(), 1).unwrap();
    assert_eq!((whole.len(), end), (9, Some(SegmentEnd::Whole)));
    for cut in 0..bytes.len() {
        fs::write(segment_path(dir.path(), 1), &bytes[..cut]).unwrap();
        let (parts, end) = all(dir.path(), 1).unwrap_or_else(|error| panic!("{cut}: {error}"));
        assert!(whole.starts_with(&parts), "{cut}");
        assert!(!matches!(end, Some(SegmentEnd::Whole)), "{cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_bit_goes_unnoticed(at in 0.0..1.0f64, bit in 0..8u8) {
        let (dir, mut bytes) = small();
        let at = ((bytes.len() - 1) as f64 * at) as usize;
        bytes[at] ^= 1 << bit;
        let (whole, _) = all(dir.path(), 1).unwrap();
        fs::write(segment_path(dir.path(), 1), &bytes).unwrap();
        match all(dir.path(), 1) {
            Err(_) => {}
            // A longer length looks like an end that was cut: less is read, and the segment is not whole.
            Ok((parts, end)) => {
                prop_assert!(whole.starts_with(&parts) && parts.len() <= whole.len());
                prop_assert!(matches!(end, Some(SegmentEnd::Unfinished(rest)) if rest > 0), "byte {at}");
            }
        }
    }

    #[test]
    fn bytes_of_any_sizes_and_order_come_back_as_they_were_sent(
        sizes in proptest::collection::vec((1..4u64, any::<bool>(), 0..70_000usize), 1..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut sender) = start(dir.path(), settings(100_000));
        let mut sent: std::collections::HashMap<(u64, bool), Vec<u8>> = Default::default();
        for (n, up, size) in sizes {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + n as usize) as u8).collect();
            let way = if up { Way::Request } else { Way::Response };
            prop_assert!(sender.send(id(n), way, bytes.clone().into()));
            sent.entry((n, up)).or_default().extend(bytes);
        }
        let of = |n: u64, up: bool| sent.get(&(n, up)).cloned().unwrap_or_default();
        (1..4).for_each(|n| assert!(sender.end(id(n), end_of(&of(n, true), &of(n, false)))));
        store.stop().unwrap();
        for n in 1..4 {
            let (request, response, body) = read(dir.path(), n, &keys(&[1])).unwrap().unwrap();
            prop_assert!(request == of(n, true) && response == of(n, false));
            prop_assert!(body.end.is_some());
        }
    }
}
