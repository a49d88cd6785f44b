//! The generator against the provider, and against answers that are wrong.

use std::io::{Read as _, Write as _};

use super::*;
use crate::loadtest::provider::{ProviderHandle, ProviderOptions, start};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn options(target: &str, workload: &str, requests: u64) -> RunOptions {
    RunOptions {
        target: target.to_owned(),
        certificate: None,
        key: "k".to_owned(),
        workload: Workload::named(workload, 1).unwrap(),
        time: None,
        requests: Some(requests),
        connections: Some(4),
        rate: None,
        verify: true,
        seed: 1,
    }
}

fn provider() -> (ProviderHandle, String) {
    let provider = start(ProviderOptions::default()).unwrap();
    let url = format!("http://{}", provider.addr());
    (provider, url)
}

#[test]
fn right_answer_counts_as_wrong() {
    // What is bad on purpose is for gateways: the provider trusts whoever it talks to.
    let skipped = |name: &str| ["abort", "hostile"].contains(&name) || name.starts_with("tls-");
    for (name, _) in workload::WORKLOADS.iter().copied().filter(|(name, _)| !skipped(name)) {
        let (provider, url) = provider();
        let mut options = RunOptions { connections: Some(12), ..options(&url, name, 12) };
        options.workload.aborts = 0.0;
        let run = block_on(run(&options)).unwrap();
        assert_eq!((run.report.requests, run.report.error_count()), (12, 0), "{name}: {:?}", run.report.errors);
        let books = provider.books_when(Duration::from_secs(20), |totals| totals.requests == 12).unwrap();
        let verdict = verify::check(&run.seen, &verify::lines_of(books));
        assert_eq!((verdict.matched, verdict.is_clean()), (12, true), "{name}: {verdict:?}");
        assert_eq!(verify::fetch(&url, 10).unwrap().0.len(), 2);
    }
}

#[test]
fn events_that_say_when_they_were_sent_are_not_read_or_read_wrong() {
    let (_provider, url) = provider();
    let stamped = RunOptions { workload: Workload::stamped(3, 2, 40), verify: false, ..options(&url, "paced", 6) };
    let run = block_on(async {
        let prepared = prepare(&stamped).await.unwrap();
        let live = prepared.live();
        let run = prepared.run().await.unwrap();
        assert_eq!((run.report.requests, run.report.error_count()), (6, 0), "{:?}", run.report.errors);
        assert_eq!(live.begun.load(Ordering::Relaxed), 6);
        assert_eq!(live.events.load(Ordering::Relaxed), run.report.events);
        live
    });
    let (delays, count) = run.delays();
    // 20 deltas each; a stamp that two reads divide is left out.
    assert!((60..=120).contains(&count), "{count}");
    assert!(delays.max < 60_000_000, "{delays:?}");
}

#[test]
fn a_workload_for_tls_is_measured_without() {
    let (_provider, url) = provider();
    let error = block_on(run(&options(&url, "tls-unary", 1))).unwrap_err();
    assert!(error.contains("https://"), "{error}");
}

#[test]
fn leaving_clients_leave_nothing_behind_at_the_provider() {
    let (provider, url) = provider();
    let run = block_on(run(&options(&url, "abort", 40))).unwrap();
    assert!(run.report.aborted > 10 && run.report.requests > 2, "{:?}", run.report);
    assert_eq!((run.report.aborted + run.report.requests, run.report.error_count()), (40, 0));
    let books = provider.books_when(Duration::from_secs(20), |totals| totals.connections_open == 0).unwrap();
    assert_eq!(books.totals.open, 0);
}

#[test]
fn rate_is_not_kept_or_lateness_is_hidden() {
    let (_provider, url) = provider();
    // One connection can only send when the last answer is there, 100 ms a piece; the rate asks for ten times that.
    let slow = RunOptions { connections: Some(1), rate: Some(100.0), ..options(&url, "paced", 5) };
    let report = block_on(run(&slow)).unwrap().report;
    assert_eq!(report.requests, 5);
    // The fifth is due at 40 ms and starts after four answers, so it is late by at least 360 ms plus its own 100.
    assert!(report.latency_us.max >= 450_000, "{report:?}");
    let spread = RunOptions { rate: Some(100.0), ..options(&url, "unary", 20) };
    assert!(block_on(run(&spread)).unwrap().report.elapsed_s >= 0.19);
}

/// A server that sends `answer` to whoever connects, then closes.
fn canned(answer: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 64 << 10];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            while stream.read(&mut request).is_ok_and(|read| read > 0) {}
        }
    });
    url
}

#[test]
fn wrong_answer_counts_as_right() {
    for (answer, workload, kind) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"[..], "unary", "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "unary", "unasked bytes"),
        (b"", "unary", "closed_before_head"),
        (b"HTTP/1.1 529 x\r\nContent-Length: 0\r\n\r\n", "unary", "status_529"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", "unary", "framing: bad chunk size"),
        (b"HTTP/1.1 200 OK\r\n\r\nevent: a\ndata: \"type\":\"message_stop\"}\n\n", "sse", "events: frames are missing"),
    ] {
        let report = block_on(run(&options(&canned(answer), workload, 2))).unwrap().report;
        assert_eq!((report.requests, report.errors.get(kind)), (0, Some(&2)), "{kind}: {:?}", report.errors);
    }
}

#[test]
fn dead_target_hangs_the_run() {
    let report = block_on(run(&options("http://127.0.0.1:1", "unary", 8))).unwrap().report;
    assert_eq!(report.errors.get("connect"), Some(&8));
    let report = block_on(run(&options("https://127.0.0.1:1", "tls-unary", 8))).unwrap().report;
    assert_eq!(report.errors.get("connect"), Some(&8));
    assert!(block_on(run(&options("ftp://127.0.0.1:1", "unary", 8))).is_err());
}
