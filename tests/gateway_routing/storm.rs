//! Everything at once, with 500 clients.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir::kernel::routing::retries::{BURST, PER_SECOND, SHARE};
use weir::loadtest::provider::{Entry, Outcome, ProviderHandle};

use crate::fixture::{account_of, gateway, message, model, prompt_of, records, target, upstream, usage_of};
use crate::raw_upstream::RawUpstream;
use crate::support::http::Connection;
use crate::support::{DEADLINE, Weir};

const CLIENTS: usize = 500;
const SHARDS: u64 = 2;

/// What a client saw.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Saw {
    /// A whole answer.
    Answer,
    /// An error answer, said in the form of the API.
    Error(u16),
    /// A stream that broke off and said so, by an event or a reset.
    Broken,
}

fn one_client(weir: &Weir, number: usize) -> Saw {
    let stream = !number.is_multiple_of(3);
    let body = prompt_of(stream, &"weir ".repeat(if number.is_multiple_of(10) { 60_000 } else { 20 }));
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), &format!("session-{number}"), "events=6", &body));
    let head = connection.read_head();
    if head.status != 200 {
        let text = connection.read_body(&head);
        let error: Value = serde_json::from_slice(&text).expect("an error in JSON");
        assert_eq!(error["type"], "error", "{error}");
        return Saw::Error(head.status);
    }
    if stream {
        let text = String::from_utf8_lossy(&connection.read_to_end_of_stream()).into_owned();
        return if text.contains("event: message_stop") { Saw::Answer } else { Saw::Broken };
    }
    // A length that is not reached is a break, too.
    let length: usize = head.header("content-length").expect("a length").parse().expect("digits");
    if connection.read_up_to(length).len() == length { Saw::Answer } else { Saw::Broken }
}

fn entries(accounts: &[ProviderHandle]) -> Vec<Entry> {
    let rest = |account: &ProviderHandle| account.books_when(DEADLINE, |totals| totals.open == 0).expect("it rests");
    accounts.iter().flat_map(|account| rest(account).entries).collect()
}

#[test]
fn clients_hang_or_are_lied_to_or_attempts_multiply_or_the_books_differ_when_all_goes_wrong_at_once() {
    let silent = RawUpstream::start(|mut peer| while peer.read_request().is_some() {});
    let mid_head = RawUpstream::start(|mut peer| {
        if peer.read_request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty");
        }
    });
    let ways = ["reset_at=2", "early=1", "trickle=40", "p_fail=0.33,fail=529", ""];
    let accounts: Vec<ProviderHandle> = (1..).zip(ways).map(|(seed, way)| account_of(seed, way)).collect();
    let addresses: Vec<_> =
        [silent.addr(), mid_head.addr()].into_iter().chain(accounts.iter().map(|a| a.addr())).collect();
    let named = |place: usize| format!("upstream-{place}");
    let upstreams: String = addresses.iter().enumerate().map(|(at, addr)| upstream(&named(at), *addr)).collect();
    let targets: Vec<String> = (0..addresses.len()).map(|at| target(&named(at))).collect();
    let limits = "[limits]\nfirst_byte_timeout = \"1s\"\n";
    let weir = gateway(SHARDS as usize, &format!("{limits}{upstreams}{}", model("", &targets)));

    let began = Instant::now();
    let saw: Vec<Saw> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let weir = &weir;
                    move || one_client(weir, number)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client sees an answer or an honest error")).collect()
    });
    let records = records(&weir, CLIENTS);
    let took = began.elapsed();

    let mut counts: HashMap<&Saw, usize> = HashMap::new();
    saw.iter().for_each(|saw| *counts.entry(saw).or_default() += 1);
    assert!(counts.get(&Saw::Answer).copied().unwrap_or(0) > CLIENTS / 2, "{counts:?}");
    let honest = |saw: &&Saw| match saw {
        Saw::Error(status) => [429, 502, 503, 504, 529].contains(status),
        _ => true,
    };
    assert!(saw.iter().all(|saw| honest(&saw)), "{counts:?}");
    let completed = records.iter().filter(|record| record["outcome"] == "completed" && record["status"] == 200).count();
    assert_eq!(completed, counts[&Saw::Answer], "{counts:?}");

    bounded(&records, took, &addresses.iter().enumerate().map(|(at, _)| named(at)).collect::<Vec<_>>());
    let asked: usize = records.iter().map(|record| asked_attempts(record).count()).sum();
    let entries = entries(&accounts);
    let heard = entries.len() + silent.requests() + mid_head.requests();
    assert!(heard <= asked, "{heard} requests arrived, {asked} attempts are recorded");
    books_are_equal(&records, &entries);
}

fn asked_attempts(record: &Value) -> impl Iterator<Item = &Value> {
    record["attempts"].as_array().expect("attempts").iter().filter(|attempt| attempt["result"] != "unreachable")
}

/// No request is tried more often than stated, and no upstream's failures cause more retries than stated.
fn bounded(records: &[Value], took: Duration, upstreams: &[String]) {
    for name in upstreams {
        let (mut first, mut caused) = (0, 0);
        for record in records {
            let attempts: Vec<_> = asked_attempts(record).collect();
            assert!(attempts.len() <= 4, "{record}");
            first += u64::from(attempts.first().is_some_and(|attempt| attempt["upstream"] == name.as_str()));
            let followed = attempts.iter().rev().skip(1);
            caused += followed.filter(|attempt| attempt["upstream"] == name.as_str()).count() as u64;
        }
        let bound = SHARDS * (BURST + PER_SECOND * (took.as_secs() + 1) + 1) + first / SHARE;
        assert!(caused <= bound, "{name}: {caused} retries of {first} requests, at most {bound}");
    }
}

/// Every whole answer that an account has given is one record, with its usage to the token; nothing else costs by report.
fn books_are_equal(records: &[Value], entries: &[Entry]) {
    let by_id: HashMap<&str, &Value> =
        records.iter().filter_map(|record| Some((record["upstream_request_id"].as_str()?, record))).collect();
    let whole: Vec<_> = entries.iter().filter(|e| e.status == 200 && e.outcome == Outcome::Completed).collect();
    for entry in &whole {
        let record = by_id.get(entry.request_id.as_str()).unwrap_or_else(|| panic!("no record of {entry:?}"));
        assert_eq!((usage_of(record), &record["usage_source"]), (entry.usage, &"reported".into()), "{record}");
    }
    for record in records.iter().filter(|record| record["usage_source"] == "reported") {
        // An account may see its connection end right behind the last byte, and call that a client gone.
        let entry = entries.iter().find(|entry| record["upstream_request_id"] == entry.request_id.as_str());
        let same = |entry: &Entry| record["response_bytes"] == entry.response_bytes && usage_of(record) == entry.usage;
        assert!(entry.is_some_and(same), "{record} is booked, and the account has {entry:?}");
    }
    for record in records.iter().filter(|record| record["status"] != 200) {
        assert_eq!(record["cost_usd"], "0.000000000", "{record}");
    }
}
