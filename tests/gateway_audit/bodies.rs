//! Bodies: hashed or stored where the configuration says so, nowhere else; come back as they were; and never lost in silence.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::fixture::{self, ALICE_KEY, Gateway};
use crate::support::http::{self, Connection, Response};
use crate::support::{DEADLINE, eventually};

const BOB_KEY: &str = "weir-key-of-bob-0123456789abcdef";
const BODY_KEY: &str = "6b657920206f662074686520746573747320206b657920206f66207468652074";
const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const BOB: &str = "[[key]]\nid = \"dev-bob\"\nsecret = \"${BOB_KEY}\"\nteam = \"search\"\n";
const VARIABLES: [(&str, &str); 3] = [("BOB_KEY", BOB_KEY), ("BODY_KEY", BODY_KEY), ("OTHER_KEY", OTHER_KEY)];

/// Teams: `platform` (Alice) as said, everybody else not at all.
fn audit(platform: &str, more: &str) -> String {
    format!("[audit]\nbody_key = \"${{BODY_KEY}}\"\n{more}\n[audit.team.platform]\nbodies = \"{platform}\"\n{BOB}")
}

fn request(gateway: &Gateway, key: &str, sim: &str, body: &[u8]) -> Vec<u8> {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-sim", sim),
    ];
    http::request_bytes(gateway.weir.clients(), "POST", "/v1/messages", &headers, body)
}

fn body_of(stream: bool, prompt: &str) -> Vec<u8> {
    let body = json!({"model": "claude-sonnet-4-6", "max_tokens": 1000, "stream": stream,
        "messages": [{"role": "user", "content": prompt}]});
    body.to_string().into_bytes()
}

fn ask(gateway: &Gateway, key: &str, sim: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(gateway.weir.clients());
    connection.send(&request(gateway, key, sim, body));
    connection.read_response()
}

fn id_of(response: &Response) -> String {
    response.header("x-weir-request-id").expect("an id").to_owned()
}

fn record(gateway: &Gateway, id: &str) -> Value {
    eventually(DEADLINE, "the record", || {
        gateway.weir.admin_get(&format!("/admin/v1/requests?request_id={id}"))["data"].get(0).cloned()
    })
}

fn sha(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_file(gateway: &Gateway, keys: &[&str]) -> String {
    let path = gateway.weir.dir().join("body.keys");
    fs::write(&path, keys.join("\n")).expect("a key file");
    path.to_str().expect("UTF-8").to_owned()
}

fn stored(gateway: &Gateway, id: &str, which: &str, keys: &str) -> Vec<u8> {
    let output = gateway.audit(&["body", id, "--body-key-file", keys, which]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn bodies(gateway: &Gateway) -> PathBuf {
    gateway.store().join("bodies")
}

/// The first segment of bodies.
fn segment(gateway: &Gateway) -> PathBuf {
    bodies(gateway).join("bodies-0000000001.seg")
}

/// Waits until the first segment holds the end of an exchange: a frame more than what was asked and answered.
fn until_stored(gateway: &Gateway) {
    eventually(DEADLINE, "the bodies are stored", || {
        let length = fs::metadata(segment(gateway)).map_or(0, |about| about.len());
        (length > 128 + 3 * 48).then_some(())
    });
}

fn drain(gateway: &mut Gateway) {
    gateway.weir.sigterm();
    assert_eq!(gateway.weir.wait_for_exit(), Some(0));
}

#[test]
fn a_hash_is_not_of_the_bytes_that_passed_or_is_made_for_another_team() {
    let gateway = fixture::start(&audit("hash", ""), &VARIABLES);
    for (stream, sim) in
        [(false, "events=3"), (true, "events=40"), (true, "events=5 chunk=split gzip=1"), (false, "status=429")]
    {
        let body = body_of(stream, &"how deep? ".repeat(20_000));
        let answer = ask(&gateway, ALICE_KEY, sim, &body);
        let record = record(&gateway, &id_of(&answer));
        assert_eq!(record["request_sha256"], sha(&body), "{sim}");
        assert_eq!(record["response_sha256"], sha(&answer.body), "{sim}: {record}");
        assert_eq!(
            (&record["body"], &record["request_cut"], &record["response_cut"]),
            (&json!("hashed"), &json!(false), &json!(false))
        );
    }
    let answer = ask(&gateway, BOB_KEY, "events=3", &body_of(false, "how deep?"));
    let record = record(&gateway, &id_of(&answer));
    assert_eq!(
        (&record["request_sha256"], &record["response_sha256"], &record["body"]),
        (&Value::Null, &Value::Null, &json!("none"))
    );
    assert!(!bodies(&gateway).exists(), "nothing is stored");
}

#[test]
fn a_stored_body_is_another_or_readable_without_the_key_or_missed_by_nobody() {
    let mut gateway = fixture::start(&audit("full", "body_segment_max = \"64KiB\""), &VARIABLES);
    let mut sent = Vec::new();
    for (n, stream) in [(1, false), (2, true), (3, true)] {
        let body = body_of(stream, &format!("a-marked-prompt {n} ").repeat(10_000));
        let answer = ask(&gateway, ALICE_KEY, "events=200", &body);
        assert_eq!(answer.status, 200);
        assert_eq!(record(&gateway, &id_of(&answer))["body"], "stored");
        sent.push((id_of(&answer), body, answer.body));
    }
    let bob = id_of(&ask(&gateway, BOB_KEY, "events=3", &body_of(false, "how deep?")));
    // A client that leaves in the middle, and one whose body never comes to its end.
    let mut leaver = Connection::open(gateway.weir.clients());
    leaver.send(&request(&gateway, ALICE_KEY, "events=1000 gap_ms=20", &body_of(true, "leaving")));
    let left = id_of(&leaver.read_head());
    leaver.read_chunk().expect("an event");
    drop(leaver);
    let cut = record(&gateway, &left);
    assert_eq!(
        (&cut["body"], &cut["request_cut"], &cut["response_cut"]),
        (&json!("stored"), &json!(false), &json!(true))
    );
    let half = request(&gateway, ALICE_KEY, "events=2", &body_of(false, &"half ".repeat(1000)));
    let halting = Connection::open(gateway.weir.clients());
    halting.stream().write_all(&half[..half.len() - 100]).expect("half a request");
    drop(halting);
    eventually(DEADLINE, "the half request's record", || {
        let all = gateway.weir.admin_get("/admin/v1/requests?outcome=client_aborted");
        all["data"].as_array().expect("records").iter().any(|record| record["request_cut"] == true).then_some(())
    });
    drain(&mut gateway);

    let keys = key_file(&gateway, &["# the keys of the tests", OTHER_KEY, BODY_KEY]);
    for (id, request, response) in &sent {
        assert!(
            stored(&gateway, id, "--request", &keys) == *request
                && stored(&gateway, id, "--response", &keys) == *response
        );
    }
    let both = gateway.audit(&["body", &left, "--body-key-file", &keys]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("the answer's body broke off"), "{both:?}");
    assert!(both.stdout.starts_with(b"{") && String::from_utf8_lossy(&both.stdout).contains("leaving"));
    let none = gateway.audit(&["body", &bob, "--body-key-file", &keys]);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("nothing of"));
    for file in fs::read_dir(bodies(&gateway)).expect("bodies") {
        let bytes = fs::read(file.expect("a file").path()).expect("a file");
        assert!(!bytes.windows(15).any(|window| window == b"a-marked-prompt"));
    }
    let proven = gateway.audited(&["verify", "--body-key-file", &keys]);
    assert!(proven.contains("5 exchanges are what their records say"), "{proven}");
    refuted(&gateway, &keys);
}

/// Every change of the stored bodies is found, with and without their records.
fn refuted(gateway: &Gateway, keys: &str) {
    let fails = |what: &str, says: &str| {
        let refuted = gateway.audit(&["verify", "--body-key-file", keys]);
        let text = String::from_utf8_lossy(&refuted.stderr).into_owned();
        assert!(!refuted.status.success() && text.contains(says), "{what}: {text}");
    };
    let path = segment(gateway);
    let whole = fs::read(&path).expect("a segment");
    for at in [9, 60, 150, whole.len() / 2, whole.len() - 10] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("a segment");
        fails(&format!("byte {at}"), "NOT what weir wrote");
    }
    fs::write(&path, &whole[..whole.len() / 2]).expect("a segment");
    fails("a cut", "not here");
    fs::write(&path, &whole).expect("a segment");
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("moved");
    fails("a segment gone", "not here");
    fs::rename(&aside, &path).expect("moved back");
    let wrong = gateway.weir.dir().join("wrong.keys");
    fs::write(&wrong, OTHER_KEY).expect("a key file");
    let refused = gateway.audit(&["verify", "--body-key-file", wrong.to_str().expect("UTF-8")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("wants body key"), "{refused:?}");
    gateway.audited(&["verify", "--body-key-file", keys]);
}

#[test]
fn a_new_body_key_waits_for_a_restart_or_an_old_body_cannot_be_read_any_more() {
    let mut gateway = fixture::start(&audit("full", ""), &VARIABLES);
    let body = body_of(false, "how deep?");
    let first = id_of(&ask(&gateway, ALICE_KEY, "events=3", &body));
    until_stored(&gateway);
    let later = fixture::config(&gateway.provider, &audit("full", "").replace("${BODY_KEY}", "${OTHER_KEY}"));
    gateway.weir.write_config(&later);
    let answer = gateway.weir.admin_request("POST", "/admin/v1/reload", b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually(DEADLINE, "every shard serves the newest snapshot", || {
        (gateway.weir.admin_get("/admin/v1/shards")["settled"] == true).then_some(())
    });
    let second = id_of(&ask(&gateway, ALICE_KEY, "events=3", &body));
    drain(&mut gateway);
    let changed = &gateway.changes(&["--kind", "reload"])[0]["after"]["changed"];
    assert_eq!(changed["audit"]["fields"], json!({"body_key": ["(hidden)", "(hidden)"]}));
    let only_new = key_file(&gateway, &[OTHER_KEY]);
    assert_eq!(stored(&gateway, &second, "--request", &only_new), body);
    let refused = gateway.audit(&["body", &first, "--body-key-file", &only_new]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("wants body key"));
    let both = key_file(&gateway, &[OTHER_KEY, BODY_KEY]);
    assert_eq!(stored(&gateway, &first, "--request", &both), body);
}

/// A gateway whose bodies cannot be stored, until the answer is undone.
fn without_room(more: &str) -> (Gateway, PathBuf) {
    let mut gateway = fixture::start(&audit("full", more), &VARIABLES);
    drain(&mut gateway);
    // A file where the directory should be.
    let place = bodies(&gateway);
    fs::write(&place, b"").expect("a file in the way");
    gateway.weir.restart();
    (gateway, place)
}

#[test]
fn a_request_runs_though_its_bodies_must_be_stored_and_cannot() {
    let (gateway, place) = without_room("on_body_overflow = \"refuse\"");
    let body = body_of(false, "how deep?");
    // The first one may be taken on credit: its bodies wait.
    let refused = eventually(DEADLINE, "a refusal", || {
        Some(ask(&gateway, ALICE_KEY, "events=3", &body)).filter(|a| a.status != 200)
    });
    assert_eq!((refused.status, refused.header("x-weir-origin")), (529, Some("gateway")), "{}", refused.text());
    assert!(refused.text().contains("must be stored") && refused.header("retry-after").is_some());
    let books = gateway.provider.books()["totals"]["requests"].clone();
    assert_eq!(ask(&gateway, ALICE_KEY, "events=3", &body).status, 529);
    assert_eq!(gateway.provider.books()["totals"]["requests"], books, "nothing of it goes upstream");
    assert_eq!(ask(&gateway, BOB_KEY, "events=3", &body).status, 200, "others are served");
    assert!(gateway.weir.metric("weir_bodies_refused_total", &[]) >= 2.0);
    fs::remove_file(place).expect("out of the way");
    let answer = eventually(DEADLINE, "served again", || {
        Some(ask(&gateway, ALICE_KEY, "events=3", &body)).filter(|a| a.status == 200)
    });
    assert_eq!(record(&gateway, &id_of(&answer))["body"], "stored");
}

#[test]
fn a_body_is_dropped_in_silence() {
    let (mut gateway, place) = without_room("on_body_overflow = \"drop\"");
    let body = body_of(false, "how deep?");
    let dropped = eventually(DEADLINE, "a dropped body", || {
        let answer = ask(&gateway, ALICE_KEY, "events=3", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Some(record(&gateway, &id_of(&answer))).filter(|record| record["body"] == "dropped")
    });
    assert_eq!(dropped["request_sha256"], sha(&body), "its hash is known all the same");
    assert!(gateway.weir.metric("weir_bodies_dropped_total", &[]) >= 1.0);
    fs::remove_file(place).expect("out of the way");
    eventually(DEADLINE, "stored again", || {
        let answer = ask(&gateway, ALICE_KEY, "events=3", &body);
        (record(&gateway, &id_of(&answer))["body"] == "stored").then_some(())
    });
    drain(&mut gateway);
    let keys = key_file(&gateway, &[BODY_KEY]);
    gateway.audited(&["verify", "--body-key-file", &keys]);
}

#[test]
fn a_kill_makes_half_a_body_whole_or_the_proof_fail() {
    let mut gateway = fixture::start(&audit("full", ""), &VARIABLES);
    let body = body_of(false, "how deep?");
    let whole = id_of(&ask(&gateway, ALICE_KEY, "events=3", &body));
    until_stored(&gateway);
    let mut running = Connection::open(gateway.weir.clients());
    running.send(&request(&gateway, ALICE_KEY, "events=1000 gap_ms=20", &body_of(true, "running")));
    let cut = id_of(&running.read_head());
    // What began before this one is in the journal when its record is.
    let later = ask(&gateway, BOB_KEY, "events=3", &body);
    record(&gateway, &id_of(&later));
    record(&gateway, &whole);
    gateway.weir.kill9();
    gateway.weir.restart();
    drain(&mut gateway);
    let keys = key_file(&gateway, &[BODY_KEY]);
    gateway.audited(&["verify", "--body-key-file", &keys]);
    let records = gateway.lines(&["query", "--request-id", &cut]);
    assert_eq!((&records[0]["outcome"], &records[0]["body"]), (&json!("gateway_failed"), &json!("none")));
    let shown = gateway.audit(&["body", &cut, "--body-key-file", &keys]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(said.contains("nothing of") || said.contains("when its writer died"), "{said}");
}
