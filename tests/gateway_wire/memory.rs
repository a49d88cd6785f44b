//! Law 5: a peer that does not take its bytes holds up whoever sends them; it does not fill the gateway's memory.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::fixture::{bench, gateway, long_prompt, message, prompt};
use crate::raw_upstream::RawUpstream;
use crate::support::http::Connection;
use crate::support::{DEADLINE, Weir, eventually};

const MIB: u64 = 1 << 20;

/// The gateway's process.
pub fn pid(weir: &Weir) -> u32 {
    let dir = weir.dir().to_string_lossy().into_owned();
    let pids = fs::read_dir("/proc").expect("proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&dir))
    };
    pids.into_iter().find(is_it).expect("weir runs")
}

/// What the kernel says of a process.
fn status(pid: u32, what: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(name, value)| (name == what).then(|| value.trim().to_owned())).expect("a line of that name")
}

/// Memory the process has in use. Bytes.
fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS").trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// The most the process has in use over a while.
fn most_resident(pid: u32) -> u64 {
    let looks = (0..20).map(|_| {
        // Time passes: what is tested is that memory does not grow in it.
        std::thread::sleep(Duration::from_millis(50));
        resident(pid)
    });
    looks.max().unwrap_or_default()
}

#[test]
fn what_a_burst_took_comes_back_in_huge_pages_after_it_was_given_back() {
    let bench = bench("");
    bench.still_serves();
    assert_eq!(status(pid(&bench.weir), "THP_enabled"), "0", "a process that serves takes small pages alone");
}

#[test]
fn fifty_slow_readers_of_large_streams_hold_up_the_provider_and_not_the_memory() {
    let bench = bench("");
    let pid = pid(&bench.weir);
    bench.still_serves();
    let before = resident(pid);
    let mut readers: Vec<Connection> = (0..50)
        .map(|_| {
            let mut connection = bench.connect();
            // 60 MB each, if anybody took them.
            let script = "events=1000,event_bytes=60000";
            connection.send(&message(bench.weir.clients(), script, &prompt(true, "much")));
            assert_eq!(connection.read_head().status, 200);
            connection
        })
        .collect();
    let most = most_resident(pid);
    assert!(most < before + 64 * MIB, "{} MiB grew to {} MiB", before / MIB, most / MIB);
    assert_eq!(bench.provider.books().totals.open, 50, "the provider is held up");
    let head = readers.remove(0);
    drop(readers);
    bench.provider.books_when(DEADLINE, |sums| sums.open == 1).expect("the others are given up");
    drop(head);
    bench.still_serves();
}

#[test]
fn uploads_to_an_upstream_that_does_not_read_hold_up_the_clients_and_not_the_memory() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = RawUpstream::start(move |peer| {
        // Nothing is read until the test is over.
        let _over = wait.lock().map(|wait| wait.recv_timeout(DEADLINE));
        drop(peer);
    });
    let weir = gateway(&upstream.url(), "");
    let pid = pid(&weir);
    let before = resident(pid);
    let bytes = Arc::new(message(weir.clients(), "", &long_prompt(30 << 20)));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (bytes, addr) = (bytes.clone(), weir.clients());
            std::thread::spawn(move || {
                let mut connection = Connection::open(addr);
                connection.set_deadline(Duration::from_millis(700));
                let held_up = connection.stream().write_all(&bytes).is_err();
                (held_up, connection)
            })
        })
        .collect();
    let most = most_resident(pid);
    let held: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    assert!(held.iter().all(|(held_up, _)| *held_up), "30 MB each must not disappear into the gateway");
    // Sent bytes are kept for a retry, within the shard's cap of 128 MiB.
    assert!(most < before + 200 * MIB, "{} MiB grew to {} MiB", before / MIB, most / MIB);
    drop(held);
    drop(done);
    eventually(DEADLINE, "all connections are gone", || {
        (weir.metric("weir_shard_connections", &[]) == 0.0).then_some(())
    });
}

#[test]
fn large_prompts_one_after_the_other_do_not_pile_up() {
    let bench = bench("");
    let pid = pid(&bench.weir);
    let body = long_prompt(8 << 20);
    let mut connection = bench.connect();
    let mut ask = || {
        connection.send(&message(bench.weir.clients(), "", &body));
        assert_eq!(connection.read_response().status, 200);
    };
    (0..4).for_each(|_| ask());
    let before = resident(pid);
    (0..20).for_each(|_| ask());
    let after = resident(pid);
    assert!(after < before + 32 * MIB, "{} MiB grew to {} MiB", before / MIB, after / MIB);
}

#[test]
fn five_hundred_connections_leave_no_descriptor_behind() {
    let bench = bench("");
    let descriptors = format!("/proc/{}/fd", pid(&bench.weir));
    let count = || fs::read_dir(&descriptors).expect("the process lives").count();
    bench.still_serves();
    eventually(DEADLINE, "the first connection is gone", || {
        (bench.weir.metric("weir_shard_connections", &[]) == 0.0).then_some(())
    });
    let before = count();
    for turn in 0..500 {
        let mut connection = bench.connect();
        let script = ["", "after=reset", "close_at=2", "status=529", "reset_before=1"][turn % 5];
        connection.send(&message(bench.weir.clients(), script, &prompt(turn % 2 == 0, "x")));
        match turn % 7 {
            0 => drop(connection),
            1 => {
                // It may have been reset already, as a broken answer ends.
                let _gone = connection.stream().shutdown(std::net::Shutdown::Write);
            }
            _ => {
                connection.read_head();
            }
        }
    }
    // The provider's connections that are kept for the next request may stay; one is enough for clients one at a time,
    // and a few were used side by side by clients that left.
    eventually(DEADLINE, "descriptors come back", || (count() <= before + 8).then_some(()));
    bench.still_serves();
}
