use super::*;
use crate::control::journal::tests::group_of;

/// RFC 8410 §10.3 and §10.1: a key pair as other programs write it.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

struct Anchor {
    dir: tempfile::TempDir,
    key: SigningKey,
    public: PublicKey,
}

impl Anchor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("private.pem"), dir.path().join("public.pem"));
        let made = generate_keys(&private, &public).unwrap();
        let (key, public) = (SigningKey::read(&private).unwrap(), PublicKey::read(&public).unwrap());
        assert_eq!((made, key.public()), (public, public));
        Self { dir, key, public }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("checkpoint.json")
    }

    fn take(&self, store: &Store) -> Checkpoint {
        let taken = take_checkpoint(store.path(), &self.key, &self.file(), UnixMs(BEGAN), &mut |_| ()).unwrap();
        let read = read_checkpoint(&self.file(), &self.public).unwrap();
        assert_eq!(read, taken);
        read
    }
}

#[test]
fn a_journal_that_only_grew_is_accused() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=5));
    let checkpoint = anchor.take(&store);
    for _ in 0..3 {
        let verified = store.verify_against(Some(&checkpoint), false).unwrap();
        assert!(verified.notes[0].contains("holds"), "{verified:?}");
        let next = verified.closes + 1;
        store.add(next..next + 3);
    }
    // Of a journal that has begun a segment and not a group.
    let fresh = Store::with([]);
    let checkpoint = anchor.take(&fresh);
    assert_eq!((checkpoint.segment, checkpoint.offset), (1, 96));
    fresh.add([1]);
    fresh.verify_against(Some(&checkpoint), false).unwrap();
}

#[test]
fn an_end_that_was_cut_off_goes_unnoticed_as_it_does_without_a_checkpoint() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=9));
    let checkpoint = anchor.take(&store);
    let last = store.last_segment();
    for segment in (2..=last).rev() {
        let bytes = fs::read(store.segment(segment)).unwrap();
        for end in groups_of(&bytes).into_iter().rev().skip(1) {
            fs::write(store.segment(segment), &bytes[..end]).unwrap();
            store.verify().unwrap();
            let place = bad(store.verify_against(Some(&checkpoint), false));
            assert!(place.why.contains("cut off"), "{place}");
            assert_eq!((place.file.clone(), place.offset), (store.segment(segment), Some(end as u64)), "{place}");
        }
        fs::remove_file(store.segment(segment)).unwrap();
        store.verify().unwrap();
        assert!(bad(store.verify_against(Some(&checkpoint), false)).why.contains("cut off"));
    }
}

#[test]
fn an_end_that_was_written_anew_goes_unnoticed() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=9));
    let checkpoint = anchor.take(&store);
    let path = store.segment(store.last_segment());
    let bytes = fs::read(&path).unwrap();
    let groups = groups_of(&bytes);
    assert_eq!(groups.len(), 4, "three groups in the last segment, of which one is kept");
    let kept = &bytes[..groups[1]];
    let record = |n: u64| {
        let mut record = record_of(n, &store.names);
        record.cost.0 -= 1;
        record
    };
    // A chain of whole groups: nothing is wrong with it but that it is another one.
    let forged = |numbers: &[u64]| {
        let mut forged = kept.to_vec();
        for n in numbers {
            let group = group_of(&record(*n), &store.names, &last_hash(&forged));
            forged.extend_from_slice(&group);
        }
        fs::write(&path, &forged).unwrap();
        store.verify().unwrap();
        bad(store.verify_against(Some(&checkpoint), false)).why
    };
    assert!(forged(&[10]).contains("cut off"));
    assert!(forged(&[8, 9, 10, 11]).contains("written anew"));
    // Cut, and gone on with.
    fs::write(&path, kept).unwrap();
    store.add(20..=24);
    store.verify().unwrap();
    let place = bad(store.verify_against(Some(&checkpoint), false));
    assert!(place.why.contains("written anew"), "{place}");
    // The same groups in another store.
    let copy = Store::with(1..=9);
    assert!(bad(copy.verify_against(Some(&checkpoint), false)).why.contains("another store"));
}

#[test]
fn segments_that_retention_took_are_taken_for_removed_ones_or_the_other_way_round() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=5));
    let checkpoint = anchor.take(&store);
    store.add(6..=14);
    let copy = store.copy();
    fs::remove_file(copy.segment(1)).unwrap();
    let place = bad(copy.verify_against(Some(&checkpoint), false));
    assert!(place.why.contains("--aged-out") && place.why.contains("segments 1 to 1"), "{place}");
    copy.verify_against(Some(&checkpoint), true).unwrap();
    // The place itself has gone: nothing can be said of it any more.
    (2..=checkpoint.segment).for_each(|n| fs::remove_file(copy.segment(n)).unwrap());
    let place = bad(copy.verify_against(Some(&checkpoint), true));
    assert!(place.why.contains("use a later one"), "{place}");
    // It was the end of the last segment that has gone: the next one still proves it.
    let store = Store::with(1..=6);
    let checkpoint = anchor.take(&store);
    store.add(7..=14);
    (1..=checkpoint.segment).for_each(|n| fs::remove_file(store.segment(n)).unwrap());
    store.verify_against(Some(&checkpoint), true).unwrap();
}

#[test]
fn a_forged_checkpoint_or_key_is_believed() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=3));
    anchor.take(&store);
    let text = fs::read_to_string(anchor.file()).unwrap();
    let read = |text: &str| {
        fs::write(anchor.file(), text).unwrap();
        read_checkpoint(&anchor.file(), &anchor.public).map_err(|error| error.to_string())
    };
    assert!(read(&text).is_ok());
    let changed = text.replacen("\"segment\": ", "\"segment\": 1", 1);
    assert_ne!(changed, text);
    assert!(read(&changed).unwrap_err().contains("signature does not match"));
    assert!(read("{}").is_err() && read(&text.replacen('{', "{\"more\": 1,", 1)).is_err());
    fs::write(anchor.file(), &text).unwrap();
    assert!(read_checkpoint(&anchor.file(), &Anchor::new().public).is_err(), "another key");

    let file = anchor.dir.path().join("key");
    fs::write(&file, PRIVATE).unwrap();
    let key = SigningKey::read(&file).unwrap();
    fs::write(&file, PUBLIC).unwrap();
    assert_eq!(PublicKey::read(&file).unwrap(), key.public());
    assert!(SigningKey::read(&file).err().unwrap().to_string().contains("keygen"));
    let again = generate_keys(&file, &file).unwrap_err().to_string();
    assert!(again.contains("cannot write the key"), "a key that is there must not be overwritten: {again}");
}

#[test]
fn a_broken_journal_is_signed() {
    let (anchor, store) = (Anchor::new(), Store::with(1..=3));
    let mut bytes = fs::read(store.segment(1)).unwrap();
    bytes[150] ^= 1;
    fs::write(store.segment(1), bytes).unwrap();
    let taken = take_checkpoint(store.path(), &anchor.key, &anchor.file(), UnixMs(1), &mut |_| ());
    assert!(matches!(taken, Err(VerifyError::Bad(_))));
    assert!(!anchor.file().exists());
}
