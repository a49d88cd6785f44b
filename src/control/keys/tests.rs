//! What the store keeps, and what it survives.

use super::*;
use crate::{
    control::config::KeyConfig,
    kernel::{keys::KeyDigest, limits::ROTATION_GRACE, policy::Pattern},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

const NOW: i64 = 1_795_000_000;

fn asked(id: &str) -> NewKey {
    NewKey {
        id: id.into(),
        user: "alice@example.com".into(),
        team: "platform".into(),
        project: String::new(),
        models: Some(vec![Pattern::new("claude-*")]),
        expires: Some(NOW + 1000),
    }
}

fn open(directory: &Path) -> KeyStore {
    KeyStore::open(directory).unwrap_or_else(|error| panic!("{error}"))
}

fn create(store: &mut KeyStore, id: &str) -> Issued {
    store.create(asked(id), &[], NOW).unwrap_or_else(|error| panic!("{error:?}"))
}

fn revoke(store: &mut KeyStore, id: &str, now: i64) {
    store.revoke(id, &[], now).and_then(|_| store.save()).unwrap_or_else(|error| panic!("{error:?}"));
}

fn grace(seconds: u64) -> Rotation {
    Rotation { grace: Duration::from_secs(seconds) }
}

fn digest_of(issued: &Issued) -> KeyDigest {
    KeyDigest::of(issued.secret.expose().as_bytes())
}

fn configured(id: &str, digest: KeyDigest) -> KeyConfig {
    KeyConfig {
        id: id.into(),
        digest: Some(digest),
        retiring: None,
        user: String::new(),
        team: String::new(),
        project: String::new(),
        models: None,
        expires: None,
        trusted_peers: Vec::new(),
    }
}

fn conflict<T>(result: Result<T, KeyError>) -> String {
    match result {
        Err(KeyError::Conflict(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no conflict"),
    }
}

#[test]
fn a_restart_forgets_a_key_or_a_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (one, two) = (create(&mut store, "one"), create(&mut store, "two"));
    create(&mut store, "three");
    let rotated = store.rotate("two", grace(60), &[], NOW + 5).unwrap_or_else(|error| panic!("{error:?}"));
    revoke(&mut store, "three", NOW + 6);
    let again = open(dir.path());
    assert_eq!(again.views(NOW + 7), store.views(NOW + 7));
    let states: Vec<KeyState> = again.views(NOW + 7).iter().map(|view| view.state).collect();
    assert_eq!(states, [KeyState::Active, KeyState::Revoked, KeyState::Rotating]);
    let callers = again.callers();
    assert_eq!(callers.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(callers[0].digest == Some(digest_of(&one)) && callers[1].digest == Some(digest_of(&rotated)));
    let old = callers[1].retiring.unwrap();
    assert!(old.digest == digest_of(&two) && old.until == NOW + 65);
    assert_eq!((callers[0].models.clone(), callers[0].expires), (asked("one").models, Some(NOW + 1000)));
    assert_eq!(again.views(NOW + 1000)[0].state, KeyState::Expired);
}

#[test]
fn a_secret_reaches_the_disk_or_others_may_read_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut secrets = vec![create(&mut store, "one").secret];
    secrets.push(store.rotate("one", grace(9), &[], NOW).unwrap_or_else(|error| panic!("{error:?}")).secret);
    for file in fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(path.file_name().unwrap(), "keys.json", "nothing is left beside it");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&KeyDigest::of(secrets[1].expose().as_bytes()).to_hex()));
        assert!(secrets.iter().all(|secret| !text.contains(&secret.expose()[5..])));
        let shown = serde_json::to_string(&store.views(NOW)).unwrap();
        for line in [text.as_str(), shown.as_str()] {
            assert!(!line.contains("weir_"), "{line}");
        }
        assert!(!shown.contains(&KeyDigest::of(secrets[1].expose().as_bytes()).to_hex()));
    }
}

#[test]
fn a_failed_write_leaves_half_a_file_or_a_key_nobody_can_find_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    create(&mut store, "one");
    let before = fs::read(dir.path().join("keys.json")).unwrap();
    // A directory that is not empty, in the place of the file to be written: neither removed nor opened.
    fs::create_dir_all(dir.path().join("keys.json.new/x")).unwrap();
    assert!(
        matches!(store.create(asked("two"), &[], NOW), Err(KeyError::Unavailable(text)) if text.contains("keys.json"))
    );
    assert!(matches!(store.rotate("one", grace(9), &[], NOW), Err(KeyError::Unavailable(_))));
    assert_eq!(store.views(NOW).len(), 1);
    assert_eq!(store.views(NOW)[0].state, KeyState::Active);
    // A revocation counts all the same, and the next time it is tried it is written down.
    assert!(store.revoke("one", &[], NOW).is_ok() && store.callers().is_empty());
    assert!(matches!(store.save(), Err(KeyError::Unavailable(_))));
    assert_eq!(fs::read(dir.path().join("keys.json")).unwrap(), before);
    fs::remove_dir_all(dir.path().join("keys.json.new")).unwrap();
    revoke(&mut store, "one", NOW + 9);
    assert_eq!(open(dir.path()).views(NOW), store.views(NOW));
}

#[test]
fn what_a_crash_left_of_a_write_stops_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys.json.new"), b"{\"version\":1,\"ke").unwrap();
    let mut store = open(dir.path());
    assert!(store.views(NOW).is_empty());
    create(&mut store, "one");
    assert_eq!(open(dir.path()).views(NOW).len(), 1);
}

#[test]
fn a_damaged_file_is_taken_for_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    create(&mut store, "one");
    create(&mut store, "two");
    let path = dir.path().join("keys.json");
    let good = fs::read_to_string(&path).unwrap();
    let twice = good.replace("\"two\"", "\"one\"");
    let hex = digest_of(&create(&mut open(tempfile::tempdir().unwrap().path()), "x")).to_hex();
    let first = good.split('"').find(|text| text.len() == hex.len()).unwrap().to_owned();
    for (text, told) in [
        (good[..good.len() / 2].to_owned(), "damaged"),
        (String::new(), "damaged"),
        (good.replacen("\"version\":1", "\"version\":2", 1), "version 2"),
        (good.replacen("\"user\"", "\"usr\"", 1), "usr"),
        (good.replacen(&first, &first[1..], 1), "broken digest"),
        (twice, "\"one\" is there twice"),
    ] {
        assert_ne!(text, good);
        fs::write(&path, text).unwrap();
        let error = KeyStore::open(dir.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(told) && error.contains(&path.display().to_string()), "{told}: {error}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(KeyStore::open(dir.path()).is_err(), "what cannot be read is not empty");
}

#[test]
fn two_keys_share_an_id_or_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let one = create(&mut store, "one");
    let file = [configured("file", KeyDigest::of(b"x"))];
    assert!(conflict(store.create(asked("one"), &[], NOW)).contains("another key"));
    assert!(conflict(store.create(asked("file"), &file, NOW)).contains("configuration file"));
    assert!(conflict(store.revoke("file", &file, NOW)).contains("[[key]]"));
    assert!(conflict(store.rotate("file", grace(0), &file, NOW)).contains("[[key]]"));
    assert!(matches!(store.revoke("nobody", &file, NOW), Err(KeyError::Unknown)));
    let clashes = |store: &KeyStore, id: &str, digest| {
        store
            .clashes(&[configured("other", KeyDigest::of(b"y")), configured(id, digest)])
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(
        clashes(&store, "one", KeyDigest::of(b"z"))[0].starts_with("key[1].id: is the id of a key made at run time")
    );
    assert!(clashes(&store, "new", digest_of(&one))[0].starts_with("key[1]: has the secret of key \"one\""));
    assert!(clashes(&store, "new", KeyDigest::of(b"z")).is_empty());
    // A revoked key's id may go to the file; at run time it stays taken, since its records go by it.
    revoke(&mut store, "one", NOW);
    assert!(clashes(&store, "one", digest_of(&one)).is_empty());
    assert!(conflict(store.create(asked("one"), &[], NOW)).contains("revoked"));
    assert!(conflict(store.rotate("one", grace(0), &[], NOW)).contains("revoked"));
}

#[test]
fn a_secret_outlives_its_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let first = create(&mut store, "one");
    let second = store.rotate("one", grace(100), &[], NOW).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((second.key.state, second.key.previous_valid_until.is_some()), (KeyState::Rotating, true));
    assert_eq!(store.views(NOW + 100)[0].state, KeyState::Active, "the grace is over");
    let third = store.rotate("one", grace(0), &[], NOW + 1).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((third.key.state, third.key.previous_valid_until), (KeyState::Active, None));
    let key = &store.callers()[0];
    assert!(key.retiring.is_none(), "neither the second secret nor the first, whose grace had not ended");
    let current = key.digest.unwrap();
    assert!(
        current == digest_of_secret(&third.secret) && current != digest_of(&first) && current != digest_of(&second)
    );
    assert!(conflict(store.rotate("one", grace(0), &[], NOW + 1000)).contains("expired"));
}

fn digest_of_secret(secret: &Secret<String>) -> KeyDigest {
    KeyDigest::of(secret.expose().as_bytes())
}

#[test]
fn a_wrong_field_is_ignored_or_not_named() {
    let wrong = |body: &str| {
        let errors = NewKey::parse(body.as_bytes(), NOW).expect_err(body);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let good = NewKey::parse(
        br#"{"id":"a.B_9-","models":["claude-*","x"],"team":null,"expires":"2027-01-01T00:00:00Z"}"#,
        NOW,
    );
    let good = good.unwrap();
    assert_eq!((good.id.as_str(), good.team.as_str(), good.expires), ("a.B_9-", "", Some(1_798_761_600)));
    assert_eq!(good.models.map(|list| list.len()), Some(2));
    let all =
        wrong(r#"{"id":"a b","user":"","team":7,"models":[],"expires":"2020-01-01T00:00:00Z","usr":1,"secret":"s"}"#);
    for field in ["id", "user", "team", "models", "expires", "usr", "secret"] {
        assert_eq!(all.iter().filter(|error| error.starts_with(&format!("{field}: "))).count(), 1, "{field}: {all:#?}");
    }
    assert!(all.iter().any(|error| error.contains("did you mean \"user\"?")), "{all:#?}");
    for id in ["", ".", "..", "a/b", "é", &"x".repeat(65)] {
        assert!(wrong(&format!("{{\"id\":\"{id}\"}}"))[0].starts_with("id: must be"), "{id}");
    }
    assert!(wrong("{}")[0].starts_with("id: ") && wrong("[]")[0].contains("object"));
    assert!(wrong("{\"id\": \"hunter2")[0].contains("no JSON") && !wrong("{\"id\": \"hunter2")[0].contains("hunter2"));
    assert!(wrong(r#"{"id":"a","models":["claude-*",""]}"#)[0].starts_with("models[1]: "));
    assert!(wrong(r#"{"id":"a","expires":"tomorrow"}"#)[0].contains("RFC 3339"));
    let rotation = |body: &str| Rotation::parse(body.as_bytes()).map(|rotation| rotation.grace);
    assert_eq!((rotation(""), rotation("{}")), (Ok(ROTATION_GRACE), Ok(ROTATION_GRACE)));
    assert_eq!(
        (rotation(r#"{"grace":"1h"}"#), rotation(r#"{"grace":"0"}"#)),
        (Ok(Duration::from_secs(3600)), Ok(Duration::ZERO))
    );
    for body in [r#"{"grace":"1000d"}"#, r#"{"grace":5}"#, r#"{"grace":"-1s"}"#] {
        assert_eq!(rotation(body).unwrap_err()[0].field, "grace", "{body}");
    }
    assert_eq!(rotation(r#"{"grase":"1h"}"#).unwrap_err()[0].field, "grase");
}
