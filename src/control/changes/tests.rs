//! What must never happen to a change, one test each.

use super::*;

fn change(kind: &'static str, subject: &str, at_ms: u64) -> Change {
    Change::new(kind, &Actor::admin(None), subject, UnixMs(at_ms))
}

#[test]
fn a_change_that_did_not_happen_looks_as_if_it_had() {
    let mut log = ChangeLog::default();
    let made = change(kinds::KEY_CREATE, "a", 1000);
    log.push(made.clone());
    log.push(change(kinds::KEY_REVOKE, "b", 2000));
    log.push(made.undone("the disk is full", UnixMs(3000)));
    let any = ChangeFilter::default();
    let all: Vec<_> = log.find(&any).map(|c| (c.subject.as_str(), c.failed.as_deref())).collect();
    assert_eq!(all, [("b", None), ("a", Some("the disk is full"))]);
    // Its first entry is no longer here: the second stands for itself.
    log.push(change(kinds::RELOAD, "", 1).undone("no", UnixMs(2)));
    assert_eq!(log.last().unwrap().failed.as_deref(), Some("no"));
}

#[test]
fn the_log_of_changes_grows_without_end() {
    let mut log = ChangeLog::of(3);
    (0..10).for_each(|n| log.push(change(kinds::RELOAD, &n.to_string(), n)));
    assert_eq!(log.iter().map(|c| c.subject.as_str()).collect::<Vec<_>>(), ["7", "8", "9"]);
    assert_eq!(log.left_out(), 7);
}

#[test]
fn a_filter_lets_the_wrong_changes_through() {
    let parse = |text: &str| {
        let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap());
        ChangeFilter::parse(&pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>())
    };
    let it = change(kinds::KEY_CREATE, "dev-alice", 5_000);
    for yes in ["kind=key", "kind=key.create&who=admin", "subject=dev-alice", "since=5&until=6", "kind=&who="] {
        assert!(parse(yes).unwrap().takes(&it), "{yes}");
    }
    for no in ["kind=reload", "kind=key.revoke", "who=signal", "subject=dev", "since=6", "until=5"] {
        assert!(!parse(no).unwrap().takes(&it), "{no}");
    }
    for (wrong, told) in
        [("kind=create", "key.create"), ("colour=red", "subject"), ("limit=0", "1 to"), ("since=soon", "RFC 3339")]
    {
        assert!(parse(wrong).unwrap_err().contains(told), "{wrong}");
    }
}

#[test]
fn a_detail_grows_past_its_cap_or_two_changes_share_an_id() {
    let long = change(kinds::RELOAD, "", 7).after(&"x".repeat(DETAIL_BYTES_MAX));
    assert_eq!(long.after, format!("{{\"too_long\":true,\"bytes\":{}}}", DETAIL_BYTES_MAX + 2));
    assert_ne!(long.id, change(kinds::RELOAD, "", 7).id);
    assert!(change(kinds::RELOAD, "", 8).id > long.id && long.id.to_string().len() == 36);
    assert_eq!(long.undone("é".repeat(600), UnixMs(1)).failed.unwrap().len(), 1024);
}
