//! From the ready line to the exit code: starts that must fail, drains that must not cut, ends that must come at once.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::fleet::{self, Ask, Fleet, nanos, usage_of};
use crate::support::http::{self, Connection};
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

/// A stream that goes on for a while: the connection, and its head as received.
fn slow_stream(fleet: &Fleet, sim: &str) -> (Connection, http::Response) {
    let mut connection = Connection::open(fleet.weir.clients());
    connection.send(&Ask { sim, stream: true, ..Ask::default() }.bytes(fleet.weir.clients()));
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    (connection, head)
}

fn readiness(fleet: &Fleet) -> u16 {
    http::request(fleet.weir.admin(), "GET", "/readyz", &[], b"").status
}

/// Nobody answers on a new connection: it is refused, or closed without a byte.
fn turned_away(fleet: &Fleet) -> bool {
    let Ok(mut stream) = TcpStream::connect(fleet.weir.clients()) else { return true };
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    let _sent = stream.write_all(&Ask::default().bytes(fleet.weir.clients()));
    !matches!(stream.read(&mut [0; 16]), Ok(read) if read > 0)
}

#[test]
fn a_drain_cuts_a_running_stream_or_takes_new_callers() {
    let mut fleet = fleet::start("[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"total\"\n");
    let mut idle = Connection::open(fleet.weir.clients());
    idle.send(&Ask::default().bytes(fleet.weir.clients()));
    assert_eq!(idle.read_response().status, 200);
    let sim = "events=25 gap_ms=60 input_tokens=40 output_tokens=60";
    let (mut stream, head) = slow_stream(&fleet, sim);
    assert_eq!(readiness(&fleet), 200);
    fleet.weir.sigterm();
    eventually(DEADLINE, "not ready any more", || (readiness(&fleet) == 503).then_some(()));
    assert_eq!(http::request(fleet.weir.admin(), "GET", "/healthz", &[], b"").status, 200, "alive all the same");
    eventually(DEADLINE, "newcomers are turned away", || turned_away(&fleet).then_some(()));
    assert!(idle.is_closed(), "a connection without a request leaves");
    let body = String::from_utf8(stream.read_body(&head)).expect("UTF-8");
    assert!(body.contains("message_stop"), "the stream ends by itself: {body}");
    assert_eq!(fleet.weir.wait_for_exit(), Some(0));
    fleet.weir.restart();
    let record = fleet.record_of(&head);
    assert_eq!((&record["outcome"], usage_of(&record).output), (&"completed".into(), 60), "{record}");
    assert_eq!(fleet.records("").len(), 2, "newcomers leave no record, and nobody is closed by a crash");
}

/// Callers that ask again and again until their connection ends; the ids of the answers they got whole.
fn ids_until_the_end(fleet: &Fleet, callers: usize) -> Vec<String> {
    let clients = fleet.weir.clients();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let all: Vec<_> = (0..callers)
            .map(|n| {
                let sim = "events=5 gap_ms=10 first_ms=10 input_tokens=30 output_tokens=40";
                let bytes = Ask { sim, stream: n % 2 == 0, ..Ask::default() }.bytes(clients);
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    let mut stream = tokio::net::TcpStream::connect(clients).await.expect("a connection");
                    loop {
                        let got = swarm::call(&mut stream, &bytes, Leave::AtTheEnd).await;
                        assert!(got.status == 0 || (got.status == 200 && got.whole), "cut off: {}", got.head);
                        let Some(id) = got.header("x-weir-request-id") else { return ids };
                        ids.push(id.to_owned());
                    }
                })
            })
            .collect();
        let mut ids = Vec::new();
        for caller in all {
            ids.extend(caller.await.expect("a caller does not panic"));
        }
        ids
    })
}

#[test]
fn a_drain_under_load_cuts_an_answer_or_loses_a_record() {
    let mut fleet = fleet::start("[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"total\"\n");
    let ids = thread::scope(|scope| {
        let callers = scope.spawn(|| ids_until_the_end(&fleet, 60));
        eventually(DEADLINE, "they are well under way", || (fleet.records("").len() > 300).then_some(()));
        fleet.weir.sigterm();
        callers.join().expect("whoever got an answer got it whole")
    });
    assert_eq!(fleet.weir.wait_for_exit(), Some(0));
    fleet.weir.restart();
    let records = fleet.records("");
    let completed: HashSet<&str> = records
        .iter()
        .filter(|record| record["outcome"] == "completed")
        .filter_map(|record| record["request_id"].as_str())
        .collect();
    assert!(ids.len() > 300 && ids.iter().all(|id| completed.contains(id.as_str())), "{} answers", ids.len());
    assert!(records.iter().all(|record| record["refused_by"] != "crash"), "every record was closed before the end");
    let cost: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    assert_eq!(fleet.budget("org").spent, cost);
    assert!(cost >= ids.len() as i64 * (30 * 3000 + 40 * 15_000));
}

#[test]
fn a_drain_asked_for_over_the_admin_api_does_not_end_the_process() {
    let mut fleet = fleet::start("");
    fleet.ask_record(Ask::default());
    assert_eq!(fleet.weir.admin_request("POST", "/admin/v1/drain", b"").status, 202);
    assert_eq!(fleet.weir.wait_for_exit(), Some(0));
}

#[test]
fn a_second_signal_waits_for_streams_or_leaves_them_unbooked() {
    let mut fleet = fleet::start("");
    let streams: Vec<_> = (0..6).map(|_| slow_stream(&fleet, "stall_at=5 events=9 input_tokens=4000")).collect();
    fleet.weir.sigterm();
    eventually(DEADLINE, "the drain has begun", || (readiness(&fleet) == 503).then_some(()));
    fleet.weir.sigterm();
    assert_eq!(fleet.weir.wait_for_exit(), Some(1), "streams were cut");
    fleet.weir.restart();
    let records = fleet.records("");
    assert_eq!(records.len(), streams.len());
    for (mut connection, head) in streams {
        let record = fleet.record_of(&head);
        assert_ne!(record["refused_by"], "crash", "closed before the end, not found at the start: {record}");
        assert_eq!((&record["usage_source"], usage_of(&record).input), (&"estimated".into(), 4000), "{record}");
        assert!(nanos(&record["cost_usd"]) > 0 && record["outcome"] != "completed", "{record}");
        connection.read_to_end();
    }
}

#[test]
fn a_drain_that_lasts_too_long_never_ends() {
    let mut fleet = fleet::start("[limits]\ndrain_timeout = \"300ms\"\n");
    let (mut stream, head) = slow_stream(&fleet, "stall_at=5 events=9");
    fleet.weir.sigterm();
    assert!(fleet.weir.wait_for_exit().is_some());
    stream.read_to_end();
    fleet.weir.restart();
    assert_ne!(fleet.record_of(&head)["refused_by"], "crash");
}

#[test]
fn a_bad_configuration_starts_or_shows_one_error_at_a_time() {
    let dir = TempDir::with_prefix("weir-").expect("a directory");
    let bad = "[listen]\nclients = \"nowhere\"\n[shards]\ncuont = 2\n[admin]\ntoken = \"${NO_SUCH_VARIABLE}\"\n[[budget]]\nscope = \"planet:earth\"\namount = \"-1\"\nperiod = \"hourly\"\n";
    fs::write(dir.path().join("weir.toml"), bad).expect("written");
    for command in ["serve", "check"] {
        let output = fleet::run_weir(&[command, "--config", "weir.toml"], dir.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        for word in ["listen.clients", "shards.cuont", "NO_SUCH_VARIABLE", "budget[0].scope", "amount", "period"] {
            assert!(said.contains(word), "weir {command} says nothing of {word}: {said}");
        }
        assert!(!dir.path().join("weir-data").exists(), "{command} touches no store");
    }
    let output = fleet::run_weir(&["serve", "--config", "none.toml"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.toml"), "{output:?}");
}

#[test]
fn a_good_configuration_is_refused_by_the_check() {
    let fleet = fleet::start("");
    let output = fleet::run_weir(&["check", "--config", "weir.toml"], fleet.weir.dir());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("good") && said.contains("2 shards") && said.contains("3 keys"), "{said}");
    assert!(!said.contains(fleet::ALICE_KEY));
}

#[test]
fn a_taken_port_is_shared_with_a_stranger() {
    let fleet = fleet::start("");
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = stranger.local_addr().expect("its address").to_string();
    for listener in ["clients", "admin"] {
        let dir = TempDir::with_prefix("weir-").expect("a directory");
        let config = fleet::config(fleet.provider.addr(), "");
        let config = config.replace(&format!("{listener} = \"127.0.0.1:0\""), &format!("{listener} = \"{taken}\""));
        fs::write(dir.path().join("weir.toml"), config).expect("written");
        let output = fleet::run_weir(&["serve", "--config", "weir.toml"], dir.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("listen.{listener}")) && said.contains(&taken), "names the listener: {said}");
        assert!(output.stdout.is_empty());
    }
    // Another weir on the port of one that runs: its clients would be split between the two.
    let dir = TempDir::with_prefix("weir-").expect("a directory");
    let ours = format!("clients = \"{}\"", fleet.weir.clients());
    let config = fleet::config(fleet.provider.addr(), "").replace("clients = \"127.0.0.1:0\"", &ours);
    fs::write(dir.path().join("weir.toml"), config).expect("written");
    let output = fleet::run_weir(&["serve", "--config", "weir.toml"], dir.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn whoever_starts_weir_cannot_read_where_it_listens() {
    let fleet = fleet::start("");
    let dir = TempDir::with_prefix("weir-").expect("a directory");
    fs::write(dir.path().join("weir.toml"), fleet::config(fleet.provider.addr(), "")).expect("written");
    let mut command = fleet::weir_command(&["serve", "--config", "weir.toml"], dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let address = |label: &str| {
        let text = line.trim_end().split(' ').find_map(|word| word.strip_prefix(label)).expect("a labelled address");
        text.parse::<SocketAddr>().unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let (clients, admin) = (address("clients=http://"), address("admin=http://"));
    let ready = http::request(admin, "GET", "/readyz", &[], b"").status;
    let probed = http::request(clients, "HEAD", "/", &[], b"").status;
    child.kill().and_then(|()| child.wait()).expect("it ends");
    assert_eq!(line, format!("weir: ready clients=http://{clients} admin=http://{admin}\n"));
    assert_eq!((ready, probed), (200, 200), "it accepts once it has said so");
}

#[test]
fn a_signal_right_after_the_ready_line_kills() {
    // Nobody reads the ready line yet and the pipe is full, so weir is held at the very moment it says that it is ready.
    let fleet = fleet::start("");
    let dir = TempDir::with_prefix("weir-").expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let config = fleet::config(fleet.provider.addr(), "");
    let config = config.replace("clients = \"127.0.0.1:0\"", &format!("clients = \"{free}\""));
    fs::write(dir.path().join("weir.toml"), config).expect("written");
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let stdout = writer.try_clone().expect("another end");
    let filler = thread::spawn(move || writer.write_all(&[b'.'; 1 << 20]));
    let mut command = fleet::weir_command(&["serve", "--config", "weir.toml"], dir.path());
    let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().expect("the binary runs");
    drop(command);
    let probe = || TcpStream::connect(free).is_ok();
    eventually(DEADLINE, "its shards accept", || probe().then_some(()));
    eventually(DEADLINE, "every handler is there that will be", || caught(child.id()).then_some(()));
    for signal in ["HUP", "TERM"] {
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(sent.expect("a shell").success());
    }
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("everything it says");
    filler.join().expect("the filler").expect("written");
    let code = eventually(DEADLINE, "it drains", || child.try_wait().expect("a child can be waited for"));
    assert_eq!(code.code(), Some(0));
    assert!(String::from_utf8_lossy(&said).contains("weir: ready"));
}

/// Whether the process has handlers for HUP, INT and TERM.
fn caught(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("hexadecimal");
    [1, 2, 15].iter().all(|signal| mask & (1 << (signal - 1)) != 0)
}
