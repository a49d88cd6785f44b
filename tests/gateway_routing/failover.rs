//! One attempt fails before its first byte: another account answers, or the client gets the most telling error.

use std::net::TcpListener;

use crate::fixture::{
    Fleet, MODEL, account, ask, ask_with, attempts, gateway, message, model, name, prompt, prompt_of, records, target,
    upstream,
};
use crate::raw_upstream::{MESSAGE, RawUpstream, ok};
use crate::support::http::Connection;
use crate::support::{DEADLINE, eventually};

#[test]
fn a_failure_of_one_account_reaches_the_client() {
    for status in [429, 529, 500, 502, 503, 504, 403, 404, 501] {
        let fleet = Fleet::start("ordered", &[&format!("status={status}"), ""], "");
        for stream in [false, true] {
            let answer = ask_with(&fleet.weir, "s", "", &prompt(stream));
            assert_eq!(answer.status, 200, "{status}: {}", answer.text());
            assert_eq!(answer.header("x-weir-origin"), None);
        }
        for record in fleet.records(2) {
            let expected = vec![(name(0), status, "answered".to_owned()), (name(1), 200, "answered".to_owned())];
            assert_eq!(attempts(&record), expected, "{record}");
            assert_eq!((&record["upstream"], &record["status"]), (&name(1).into(), &200.into()), "{record}");
            assert_eq!(record["outcome"], "completed");
        }
        let answered = format!("result=\"answered\",upstream=\"{}\"", name(0));
        let counted = fleet.weir.metric("weir_upstream_attempts_total", &[&format!("upstream=\"{}\"", name(0))]);
        assert_eq!(counted, 2.0, "{answered}");
    }
}

#[test]
fn an_aws_account_without_room_passes_for_a_bad_request() {
    for (exception, status, elsewhere) in [
        ("ServiceQuotaExceededException", 400, true),
        ("ModelTimeoutException", 408, true),
        ("ModelErrorException", 424, true),
        ("ValidationException", 400, false),
    ] {
        let accounts = [account(&format!("exception={exception}")), account("")];
        let bedrock = |place: usize| {
            upstream(&name(place), accounts[place].addr())
                .replace("\"anthropic\"", "\"bedrock\"\nregion = \"us-east-1\"")
                .replace("api_key", "bearer")
        };
        let targets = model("ordered", &[target(&name(0)), target(&name(1))]);
        let weir = gateway(1, &[bedrock(0), bedrock(1), targets].concat());
        let fleet = Fleet { weir, accounts: accounts.into() };
        let answer = ask(&fleet.weir, "", "");
        assert_eq!(answer.status, if elsewhere { 200 } else { 400 }, "{exception}: {}", answer.text());
        assert_eq!((fleet.asked(0), fleet.asked(1)), (1, u64::from(elsewhere)), "{exception}");
        let record = &fleet.records(1)[0];
        assert_eq!(attempts(record)[0], (name(0), status, "answered".to_owned()), "{record}");
    }
}

#[test]
fn our_own_refused_credential_reaches_the_client_although_another_account_works() {
    let fleet = Fleet::start("ordered", &["status=401", ""], "");
    assert_eq!(ask(&fleet.weir, "", "").status, 200);
    let tried = attempts(&fleet.records(1)[0]);
    assert_eq!(tried[0], (name(0), 401, "answered".into()));
    // It is known now, and not asked again.
    assert_eq!(ask(&fleet.weir, "", "").status, 200);
    assert_eq!((fleet.asked(0), fleet.asked(1)), (1, 2));
    eventually(DEADLINE, "the operator can see it", || {
        (crate::fixture::health(&fleet.weir, &name(0))["state"] == "locked").then_some(())
    });
}

#[test]
fn a_request_at_fault_is_shown_to_every_account() {
    for status in [400, 402, 408, 409, 413, 422] {
        let fleet = Fleet::start("ordered", &[&format!("status={status},message=no_luck"), ""], "");
        let answer = ask(&fleet.weir, "", "");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["error"]["message"], "no luck");
        assert_eq!(fleet.asked(1), 0, "{status}");
    }
}

#[test]
fn the_error_shown_is_the_last_or_the_least_telling() {
    // What each account says, and what the client hears of it (contract.md 2.4).
    for (scripts, status) in [
        (["status=429,message=mine", "status=500", "status=404"], 429),
        (["status=500", "status=429,message=mine", "status=403"], 429),
        (["status=404", "status=403,message=mine", "status=501"], 403),
        (["status=501", "status=500", "status=404,message=mine"], 404),
        (["status=501,message=mine", "status=503", "status=500"], 501),
        (["reset_before=1", "status=529,message=mine", "reset_before=1"], 529),
    ] {
        let fleet = Fleet::start("ordered", &scripts, "");
        let answer = ask(&fleet.weir, "", "");
        assert_eq!(answer.status, status, "{scripts:?}: {}", answer.text());
        assert_eq!(answer.json()["error"]["message"], "mine", "the account's own words: {scripts:?}");
        assert!(answer.header("request-id").is_some() && answer.header("x-weir-origin").is_none(), "{scripts:?}");
        let record = &fleet.records(1)[0];
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(3), "{record}");
        assert_eq!((&record["status"], &record["cost_usd"]), (&status.into(), &"0.000000000".into()), "{record}");
    }
}

#[test]
fn a_kept_error_that_comes_in_chunks_or_pieces_is_lost() {
    for framing in ["chunk=split", "trickle=30", "chunk=split,trailers=1"] {
        let fleet = Fleet::start("ordered", &[&format!("status=429,message=mine,{framing}"), "status=500"], "");
        let answer = ask(&fleet.weir, "", "");
        assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (429, Some("mine")), "{framing}");
    }
}

#[test]
fn an_account_that_named_a_wait_is_asked_before_it_is_over() {
    let fleet = Fleet::start("ordered", &["status=429,retry_after=3600", ""], "");
    for _ in 0..5 {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
    }
    assert_eq!((fleet.asked(0), fleet.asked(1)), (1, 5));
    // When all have named one, the client is told the shortest, and nobody is asked.
    fleet.accounts[1].set_script("status=529,retry_after=50");
    let told = ask(&fleet.weir, "", "");
    assert_eq!((told.status, told.header("retry-after")), (529, Some("50")), "{}", told.text());
    let told = ask(&fleet.weir, "", "");
    assert_eq!((told.status, told.header("x-weir-origin")), (429, Some("gateway")), "{}", told.text());
    let wait: u64 = told.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!((40..=51).contains(&wait), "{wait}");
    assert_eq!((fleet.asked(0), fleet.asked(1)), (1, 6));
}

#[test]
fn a_wait_of_a_second_lasts_for_ever() {
    let fleet = Fleet::start("ordered", &["status=429,retry_after=1", ""], "");
    assert_eq!(ask(&fleet.weir, "", "").status, 200);
    fleet.accounts[0].set_script("");
    eventually(DEADLINE, "the first account is asked again", || {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
        (fleet.asked(0) > 1).then_some(())
    });
}

#[test]
fn an_account_that_cannot_be_reached_or_stays_silent_reaches_the_client() {
    let silent = RawUpstream::start(|mut peer| while peer.read_request().is_some() {});
    let mid_head = RawUpstream::start(|mut peer| {
        peer.read_request();
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty");
        peer.finish();
    });
    let nonsense = RawUpstream::start(|mut peer| {
        peer.read_request();
        peer.send(b"220 mail.example.com ESMTP\r\n\r\n");
        peer.finish();
    });
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let well = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
        }
    });
    for (addr, status, result, maybe_billed) in [
        (silent.addr(), 0, "timed_out", true),
        (mid_head.addr(), 0, "broken", true),
        (nonsense.addr(), 0, "broken", true),
        (gone, 0, "unreachable", false),
    ] {
        let targets = [target("first"), target("second")];
        let more = format!(
            "[limits]\nfirst_byte_timeout = \"300ms\"\n{}{}{}",
            upstream("first", addr),
            upstream("second", well.addr()),
            model("ordered", &targets)
        );
        let weir = gateway(1, &more);
        let answer = ask(&weir, "", "");
        assert_eq!((answer.status, answer.text().as_str()), (200, MESSAGE), "{result}");
        let record = &records(&weir, 1)[0];
        let tried = attempts(record);
        assert_eq!(tried[0], ("first".into(), status, result.into()), "{record}");
        assert_eq!(record["attempts"][0]["maybe_billed"], maybe_billed, "{record}");
        assert_eq!((record["attempts"][1]["maybe_billed"].as_bool(), tried.len()), (Some(false), 2), "{record}");
    }
}

#[test]
fn a_refusal_during_the_upload_loses_the_rest_of_the_body() {
    let fleet = Fleet::start("ordered", &["early=1", ""], "");
    let closing = Fleet::start("ordered", &["early_close=1", ""], "");
    for fleet in [fleet, closing] {
        let body = prompt_of(false, &"weir ".repeat(400_000));
        let answer = ask_with(&fleet.weir, "", "", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let books = fleet.accounts[1].books_when(DEADLINE, |totals| totals.open == 0).expect("it rests");
        assert_eq!(books.entries[0].request_bytes, body.len() as u64);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(books.entries[0].request_sha256, hex, "byte for byte, from the kept chunks");
    }
}

#[test]
fn something_is_asked_again_once_the_client_has_a_byte() {
    for script in ["reset_at=2", "close_at=1", "error_at=2", "hundred=103,status=529"] {
        let fleet = Fleet::start("ordered", &[script, ""], "");
        let mut connection = Connection::open(fleet.weir.clients());
        let bytes = String::from_utf8(message(fleet.weir.clients(), "", "", &prompt(true))).expect("text");
        connection.send(bytes.replacen("x-api-key", "connection: close\r\nx-api-key", 1).as_bytes());
        let head = connection.read_head();
        assert!([200, 103].contains(&head.status), "{script}");
        connection.read_to_end();
        assert_eq!(fleet.asked(1), 0, "{script}");
    }
}

#[test]
fn nobody_is_left_and_the_client_hears_of_the_gateway_s_inside() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let targets = [target("first"), target("second")];
    let more = format!("{}{}{}", upstream("first", gone), upstream("second", gone), model("ordered", &targets));
    let weir = gateway(1, &more);
    for _ in 0..3 {
        let answer = ask(&weir, "", "");
        assert_eq!((answer.status, answer.header("x-weir-origin")), (502, Some("gateway")), "{}", answer.text());
        assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains(MODEL), "{}", answer.text());
    }
    let tried: usize = records(&weir, 3).iter().map(|record| attempts(record).len()).sum();
    assert_eq!(tried, 2, "each was dialled once, and then known to be dead");
}
