//! Answers that break, and clients that leave.

use super::*;

#[test]
fn scripted_status_loses_its_headers() {
    let provider = provider();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (402, "billing_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let response = ask(
            &provider,
            &format!("status={status} retry_after=7 should_retry=false error_code=abc message=so_it_is"),
            true,
        );
        let error = &response.json()["error"];
        assert_eq!((response.status, &error["type"], &error["message"]), (status, &kind.into(), &"so it is".into()));
        assert_eq!(error["details"]["error_code"], "abc");
        assert_eq!((response.header("retry-after"), response.header("x-should-retry")), (Some("7"), Some("false")));
    }
    assert_eq!(ended(&provider, 8).totals.usage(), BilledUsage::default(), "errors are not billed");
}

#[test]
fn stream_breaks_elsewhere_than_scripted() {
    let provider = provider();
    for events in [0, 1, 3, 13] {
        for (key, end) in [("reset_at", End::Reset), ("close_at", End::Fin), ("error_at", End::Whole)] {
            let response = ask(&provider, &format!("first_ping=0 {key}={events}"), true);
            assert_eq!(response.end, end, "{key}={events}");
            let names = response.events();
            let broken = key == "error_at";
            assert_eq!(names.len(), events + usize::from(broken), "{key}={events}: {names:?}");
            assert_eq!(names.last().is_some_and(|name| name == "error"), broken);
        }
    }
    assert!(ended(&provider, 12).entries.iter().all(|entry| entry.outcome == Outcome::Faulted));
}

#[test]
fn broken_stream_is_billed_whole() {
    let provider = provider();
    // message_start, content_block_start and half of the eight deltas.
    ask(&provider, "output_tokens=80 input_tokens=9 close_at=6", true);
    let usage = ended(&provider, 1).entries[0].usage;
    assert_eq!((usage.input, usage.output), (9, 40));
}

#[test]
fn json_answer_does_not_break() {
    let provider = provider();
    for (script, end, bytes) in
        [("reset_at=0", End::Reset, 0), ("close_at=0", End::Fin, 0), ("close_at=1", End::Fin, 1000)]
    {
        let response = ask(&provider, &format!("body_bytes=2000 {script}"), false);
        assert_eq!((response.end, response.body.len()), (end, bytes), "{script}");
        assert_eq!(response.header("content-length"), Some("2000"));
    }
}

#[test]
fn byte_arrives_before_the_reset() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.post("anthropic-sim: reset_before=1\r\n", &body(true));
    assert_eq!(client.response().unwrap_err(), End::Reset);
    let entry = &ended(&provider, 1).entries[0];
    assert_eq!((entry.status, entry.outcome, entry.usage), (0, Outcome::Faulted, BilledUsage::default()));
}

#[test]
fn silent_or_stalled_provider_speaks() {
    let provider = provider();
    for (index, (script, events)) in
        [("silent=1", None), ("stall_at=0", Some(0)), ("stall_at=3 pings=5 first_ping=0", Some(3))]
            .into_iter()
            .enumerate()
    {
        let mut client = Client::connect(&provider);
        client.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.post(&format!("anthropic-sim: {script}\r\n"), &body(true));
        match (client.response(), events) {
            (Err(End::Silence), None) => {}
            (Ok(response), Some(events)) => {
                assert_eq!((response.end, response.events().len()), (End::Silence, events), "{script}");
            }
            (other, _) => panic!("{script}: {other:?}"),
        }
        drop(client);
        assert_eq!(ended(&provider, index as u64 + 1).entries[index].outcome, Outcome::ClientGone);
    }
}

#[test]
fn ping_only_stream_falls_silent() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.post("anthropic-sim: ping_at=1 pings=2 first_ping=0\r\n", &body(true));
    client.until(b"event: message_start").unwrap();
    for _ in 0..5 {
        client.until(b"event: ping").unwrap();
    }
}

#[test]
fn leaving_client_goes_unnoticed() {
    let provider = provider();
    // Each waits in another place: before the head, between events, in a full socket, in a trickled write.
    let scripts = ["first_ms=3600000", "gap_ms=3600000", "events=100000 event_bytes=1000", "trickle=100 events=100000"];
    for (index, script) in scripts.into_iter().enumerate() {
        let mut client = Client::connect(&provider);
        client.post(&format!("anthropic-sim: {script}\r\n"), &body(true));
        if index > 0 {
            client.until(b"content_block").unwrap();
        }
        let left = Instant::now();
        drop(client);
        let entry = ended(&provider, index as u64 + 1).entries.remove(index);
        assert!(left.elapsed() < DEADLINE);
        assert_eq!(entry.outcome, Outcome::ClientGone, "{script}");
        let billed_input = if index == 0 { 0 } else { body(true).len().div_ceil(4) as u64 };
        assert_eq!(entry.usage.input, billed_input, "{script}");
    }
    assert!(provider.books_when(DEADLINE, |totals| totals.connections_open == 0 && totals.open == 0).is_some());
}

#[test]
fn half_uploaded_request_is_billed() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.send(b"POST /v1/messages HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\n{\"model\":");
    drop(client);
    let entry = &ended(&provider, 1).entries[0];
    assert_eq!((entry.outcome, entry.status, entry.usage), (Outcome::ClientGone, 0, BilledUsage::default()));
}

#[test]
fn early_answer_waits_for_the_body() {
    let provider = provider();
    let head = |script: &str| {
        format!(
            "POST /v1/messages HTTP/1.1\r\nHost: s\r\nanthropic-version: x\r\nanthropic-sim: {script}\r\nContent-Length: {}\r\n\r\n",
            body(true).len()
        )
    };
    let mut client = Client::connect(&provider);
    for (script, status) in
        [("early=1 retry_after=3", 429), ("early=1 status=200", 200), ("early=1 status=200 stream=1", 200)]
    {
        client.send(head(script).as_bytes());
        let response = client.response().unwrap();
        assert_eq!((response.status, response.end), (status, End::Whole), "{script}");
        client.send(body(true).as_bytes());
    }
    let books = ended(&provider, 3);
    assert!(books.entries.iter().all(|entry| entry.request_bytes == body(true).len() as u64));
    assert_eq!(books.totals.connections, 1);
    client.send(head("early_close=1").as_bytes());
    let response = client.response().unwrap();
    assert_eq!((response.status, response.header("connection")), (429, Some("close")));
    assert_eq!(client.fill().unwrap_err(), End::Fin);
}

#[test]
fn informational_head_is_missing() {
    let response = ask(&provider(), "hundred=103", true);
    assert_eq!((response.informational, response.status), (Some(103), 200));
}

#[test]
fn dice_always_fall_the_same_way() {
    let provider = provider();
    let mut statuses = [0, 0];
    for _ in 0..40 {
        let response = ask(&provider, "p_fail=0.5 fail=529", false);
        statuses[usize::from(response.status == 529)] += 1;
    }
    assert!(statuses.iter().all(|count| *count > 5), "{statuses:?}");
    assert_eq!(ask(&provider, "p_fail=1 fail=close", true).end, End::Fin);
    assert_eq!(ask(&provider, "p_fail=1 fail=reset", true).end, End::Reset);
    assert_eq!(ask(&provider, "p_fail=1 fail=error", true).events().last().unwrap(), "error");
    assert_eq!(ask(&provider, "p_fail=1 fail=error", false).status, 500);
}

#[test]
fn smuggled_request_is_served() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.send(b"POST /v1/messages HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: s\r\n\r\n");
    let response = client.response().unwrap();
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    assert_eq!(client.fill().unwrap_err(), End::Fin);
}

#[test]
fn stopped_provider_still_answers() {
    let provider = provider();
    let addr = provider.addr();
    let mut client = Client::connect(&provider);
    client.post("anthropic-sim: gap_ms=3600000\r\n", &body(true));
    client.until(b"message_start").unwrap();
    provider.stop();
    while client.fill().is_ok() {}
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn kept_connection_outlives_its_broken_promise() {
    let provider = provider();
    for (script, end) in [("after=close", End::Fin), ("after=reset", End::Reset)] {
        for stream in [true, false] {
            let mut client = Client::connect(&provider);
            client.post(&format!("anthropic-sim: {script}\r\n"), &body(stream));
            let response = client.response().unwrap();
            assert_eq!((response.end, response.header("connection")), (End::Whole, Some("keep-alive")), "{script}");
            assert_eq!(client.fill().unwrap_err(), end, "{script}");
        }
    }
    assert!(ended(&provider, 4).entries.iter().all(|entry| entry.outcome == Outcome::Completed));
}

#[test]
fn a_reset_takes_along_the_end_of_the_answer_before_it() {
    // More writes than a new connection has in flight, so that the last ones wait for an acknowledgement.
    let provider = provider();
    for turn in 0..300 {
        let answer = ask(&provider, "after=reset,events=120", true);
        assert_eq!(answer.end, End::Whole, "turn {turn}");
    }
}

#[test]
fn early_answer_is_followed_by_an_interim_one() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.send(b"POST /v1/messages HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nanthropic-sim: early=1\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(client.response().unwrap().status, 429);
    assert_eq!(client.fill().unwrap_err(), End::Fin);
}
