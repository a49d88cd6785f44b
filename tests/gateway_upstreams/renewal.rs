//! Credentials that end while requests run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use crate::fixture::{Gateway, REST, start, start_whole};
use crate::minted::{BEDROCK, CONTAINER, ENTRA, FOUNDRY, METADATA, VERTEX};
use crate::support::{DEADLINE, PROVIDER_KEY, Provider, eventually};

/// How long what is issued lives in tests that wait for its end. Seconds.
const LIFE: &str = "4";

/// Asks on three connections at once until so many credentials were issued; every answer must be good.
pub fn serves_until_issued(gateway: &Gateway, count: u64) -> u64 {
    let (done, served) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    let answer = gateway.ask();
                    if answer.status != 200 {
                        done.store(true, SeqCst);
                        panic!("{}: {}\n{}", answer.status, answer.text(), gateway.credential());
                    }
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        eventually(DEADLINE, "credentials are renewed", || {
            (gateway.issued() >= count || done.load(SeqCst)).then_some(())
        });
        done.store(true, SeqCst);
    });
    served.load(SeqCst)
}

#[test]
fn a_request_fails_at_the_boundary_of_two_tokens() {
    for (upstream, environment, arguments) in [
        (VERTEX, &METADATA[..], &["--issue", LIFE][..]),
        (FOUNDRY, &ENTRA[..], &["--issue", LIFE][..]),
        (BEDROCK, &CONTAINER[..], &["--issue", LIFE, "--sigv4", "us-east-1/bedrock"][..]),
    ] {
        let gateway = start(arguments, upstream, environment);
        let served = serves_until_issued(&gateway, 3);
        let books = gateway.provider.books();
        let entries = books["entries"].as_array().expect("entries");
        assert!(served > 10 && entries.iter().all(|entry| entry["status"] == 200), "{served} served: {upstream}");
        if upstream != BEDROCK {
            let tokens: HashSet<&str> =
                entries.iter().filter_map(|entry| entry["credential_fingerprint"].as_str()).collect();
            assert!(tokens.len() >= 2, "{tokens:?}");
        }
    }
}

#[test]
fn a_failing_token_endpoint_ends_what_is_still_good_or_is_never_asked_again() {
    let gateway = start(&["--issue", LIFE], VERTEX, &METADATA);
    gateway.served();
    gateway.issuer("PUT", "/sim/issuer?fail=1");
    let failed = eventually(DEADLINE, "the failure is seen while the last token is good", || {
        Some(gateway.credential()).filter(|state| state["last_error"].is_string())
    });
    let failures = ["upstream=\"main\"", "result=\"failed\""];
    assert!(gateway.weir.metric("weir_upstream_credential_mints_total", &failures) >= 1.0);
    assert!(failed["last_error"].as_str().is_some_and(|error| error.contains("500")), "{failed}");
    let ended = eventually(DEADLINE, "the last token ends", || {
        let answer = gateway.ask();
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(ended.status, 502, "{}", ended.text());
    assert!(ended.text().contains("no valid credential"), "{}", ended.text());
    assert_eq!(gateway.credential()["credential_valid"], false);
    assert_eq!(gateway.weir.metric("weir_upstream_credential_valid", &["upstream=\"main\""]), 0.0);
    assert!(gateway.weir.metric("weir_upstream_credential_remaining_seconds", &["upstream=\"main\""]) <= 0.0);
    let books = gateway.provider.books();
    let sent = books["entries"].as_array().expect("entries").iter().filter(|e| e["status"] == 401).count();
    assert_eq!(sent, 0, "what is known to have ended is not shown to the provider");
    gateway.issuer("PUT", "/sim/issuer?fail=0");
    eventually(DEADLINE, "service resumes", || (gateway.ask().status == 200).then_some(()));
    // A shard may have the new token a moment before the desk has written down that all is well.
    eventually(DEADLINE, "the failure is over", || gateway.credential()["last_error"].is_null().then_some(()));
}

#[test]
fn a_token_that_the_provider_has_ended_is_shown_to_its_natural_end() {
    for (upstream, environment, arguments) in [
        (FOUNDRY, &ENTRA[..], &["--issue", "3600"][..]),
        (BEDROCK, &CONTAINER[..], &["--issue", "3600", "--sigv4", "us-east-1/bedrock"][..]),
    ] {
        let gateway = start(arguments, upstream, environment);
        gateway.served();
        gateway.issuer("POST", "/sim/issuer/revoke");
        eventually(DEADLINE, "a new one is minted", || {
            let answer = gateway.ask();
            assert!([200, 502].contains(&answer.status), "{}: {}", answer.status, answer.text());
            (answer.status == 200).then_some(())
        });
        assert_eq!(gateway.issued(), 2, "{upstream}");
        // Refused again at once: the pause between two forced renewals holds.
        gateway.issuer("POST", "/sim/issuer/revoke");
        for _ in 0..20 {
            gateway.ask();
        }
        assert!(gateway.issued() <= 3, "{}", gateway.issued());
    }
}

#[test]
fn an_upstream_without_a_credential_is_asked_rather_than_the_next() {
    let provider = Provider::start_with(&["--issue", "3600", "--api-key", PROVIDER_KEY]);
    let config = format!(
        "[[upstream]]\nname = \"main\"\nbase_url = \"http://SIM_ADDRESS\"\n{VERTEX}\n\
         [[upstream]]\nname = \"second\"\nprovider = \"anthropic\"\nbase_url = \"http://SIM_ADDRESS\"\n\
         auth = {{ api_key = \"${{PROVIDER_KEY}}\" }}\n\
         [[model]]\nid = \"claude-sonnet-4-6\"\ntargets = [ {{ upstream = \"main\" }}, {{ upstream = \"second\" }} ]\n{REST}"
    );
    // Nobody answers on port 9.
    let gateway = start_whole(provider, &config, &[("GCE_METADATA_HOST", "127.0.0.1:9")]);
    gateway.served();
    let record = gateway.newest_record();
    assert_eq!(record["upstream"], "second", "{record}");
}
