//! Facts about the runtime and the kernel that weir relies on (law 10), each pinned where it would bite.
//!
//! These tests must not be deleted because they seem to test somebody else's code. Each says what breaks in production when
//! its fact no longer holds: after an update of the runtime, a change of the ring's flags, or another kernel. They use
//! `sys` and `data::shard` as the shards do, on a thread of their own; such a thread is never joined, since a runtime with
//! operations in flight must not be dropped.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use weir::data::shard::deadlines::{Awaited, Sweeper};
use weir::data::shard::guard::guarded;
use weir::kernel::time::MonoUs;
use weir::sys::buf::{Buf, lent_bytes};
use weir::sys::probe;
use weir::sys::runtime::{self, Driver, forever, sleep, spawn};
use weir::sys::socket::{Listener, Socket, bind};

/// Longest wait for anything that is going to happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// Held while a runtime is built by a test that wants to know which ring is its own.
static BUILDING: Mutex<()> = Mutex::new(());

/// Runs a future as a shard runs its own, and waits for what it sends.
fn on_a_shard<T, F>(driver: Driver, main: impl FnOnce(Sender<T>) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let (ready, built) = mpsc::channel();
    let building = BUILDING.lock().expect("no panic while it is held");
    thread::spawn(move || {
        let error = runtime::run(driver, move || async move {
            ready.send(()).expect("the test waits");
            main(sender).await;
            forever().await
        });
        panic!("no runtime: {error}");
    });
    built.recv_timeout(DEADLINE).expect("a runtime");
    drop(building);
    receiver.recv_timeout(DEADLINE).expect("the shard says what it found")
}

/// A listener and its address.
fn listener() -> (std::net::TcpListener, SocketAddr) {
    let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).expect("a port");
    let addr = bound.local_addr().expect("an address");
    (bound, addr)
}

/// One accepted connection and the other end of it.
async fn pair() -> (Socket, TcpStream) {
    let (bound, addr) = listener();
    let listener = Listener::new(bound).expect("a listener");
    let peer = TcpStream::connect(addr).expect("the kernel accepts for the listener");
    peer.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let (socket, _) = listener.accept().await.expect("a connection");
    (socket, peer)
}

/// The rings of this process.
fn rings() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("proc").filter_map(Result::ok);
    let is_ring =
        |path: &std::path::Path| fs::read_link(path).is_ok_and(|link| link.ends_with("anon_inode:[io_uring]"));
    entries
        .filter(|entry| is_ring(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// How many completions the kernel has put into a ring.
fn completions(ring: &str) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{ring}")).expect("the ring is open");
    let tail = info.lines().find_map(|line| line.strip_prefix("CqTail:")).expect("a kernel that shows its rings");
    tail.trim().parse().expect("a number")
}

/// Must not be deleted: without DEFER_TASKRUN a read that is cancelled loses bytes the kernel had already delivered, a
/// timed-out accept leaks its descriptor, and every request costs a quarter more CPU. (The kernel takes DEFER_TASKRUN only
/// together with SINGLE_ISSUER.) The flag shows in when completions appear: while a shard computes and does not enter the
/// kernel none may, and without the flag the shard is interrupted to take them.
#[test]
fn completions_come_only_when_the_shard_asks_for_them() {
    assert_eq!(probe::io_uring(), Ok(()), "this host runs the io_uring driver");
    let building = BUILDING.lock().expect("no panic while it is held");
    let before = rings();
    let (posted, read_is_posted) = mpsc::channel();
    let (sender, found) = mpsc::channel();
    let done = Arc::new(AtomicBool::new(false));
    let looked = done.clone();
    thread::spawn(move || {
        runtime::run(Driver::IoUring, move || async move {
            let (socket, peer) = pair().await;
            let (mut reader, _writer, _kill) = socket.split();
            spawn(async move {
                let (result, _) = reader.read(Buf::small()).await;
                sender.send(result.map_err(|error| error.kind())).expect("the test waits");
            });
            sleep(Duration::from_millis(20)).await;
            posted.send(peer).expect("the test waits");
            while !looked.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            forever().await
        })
    });
    let mut peer = read_is_posted.recv_timeout(DEADLINE).expect("the read is posted");
    let ring = rings().difference(&before).next().expect("the shard has a ring").clone();
    drop(building);
    let waiting = completions(&ring);
    peer.write_all(b"bytes").expect("the kernel has them when this returns");
    // Time passes: what is tested is that nothing happens in it.
    thread::sleep(Duration::from_millis(200));
    let while_it_computed = completions(&ring) - waiting;
    done.store(true, Ordering::SeqCst);
    assert_eq!(found.recv_timeout(DEADLINE).expect("the read ends"), Ok(5));
    assert_eq!(while_it_computed, 0, "completions were forced upon a shard that did not ask");
}

/// Must not be deleted: a deadline or a disconnect ends a posted read by shutting the socket down. If the operation did not
/// come back by itself, with its buffer, each idle connection that is closed would leak a buffer and hang its task for ever.
#[test]
fn a_read_ended_by_shutdown_comes_back_with_its_buffer() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let (read, capacity, lent) = on_a_shard(driver, |found| async move {
            let (socket, peer) = pair().await;
            let before = lent_bytes();
            let (mut reader, _writer, kill) = socket.split();
            spawn(async move {
                let (result, buf) = reader.read(Buf::small()).await;
                let capacity = buf.capacity();
                drop(buf);
                let left = lent_bytes() - before;
                found.send((result.map_err(|error| error.kind()), capacity, left)).expect("the test waits");
                drop(peer);
            });
            // The read is posted before this task goes on: tasks run in the order in which they were started.
            sleep(Duration::from_millis(20)).await;
            kill.end_reading();
        });
        assert_eq!((read, capacity, lent), (Ok(0), 4096, 0), "{driver:?}");
    }
}

/// Must not be deleted: after the reading side is ended, weir still tells the client why (408). And bytes that came before
/// the end must not be lost with it: they are the beginning of a request.
#[test]
fn ending_the_reading_side_loses_no_bytes_and_leaves_the_writing_side_whole() {
    let (total, answer) = on_a_shard(Driver::IoUring, |found| async move {
        let (socket, mut peer) = pair().await;
        let (mut reader, mut writer, kill) = socket.split();
        let sender = thread::spawn(move || {
            peer.write_all(&[7; 300_000]).expect("the peer sends");
            peer
        });
        let mut total = 0;
        while total < 300_000 {
            let (result, _) = reader.read(Buf::small()).await;
            total += result.expect("bytes");
        }
        let mut peer = sender.join().expect("the peer has sent");
        kill.end_reading();
        assert_eq!(reader.read(Buf::small()).await.0.expect("an end"), 0);
        writer.write_all(Buf::copy_of(b"too late")).await.expect("writing still works");
        let mut answer = [0; 8];
        peer.read_exact(&mut answer).expect("the answer");
        found.send((total, answer)).expect("the test waits");
    });
    assert_eq!((total, &answer), (300_000, b"too late"));
}

/// Must not be deleted: what a large upload costs is decided by how many reads it takes, and what it holds by how large their
/// buffers are. One read takes all that waits, into the smallest buffer that fits it, and while nothing waits it has none.
#[test]
fn a_large_body_is_read_in_pieces_or_holds_more_memory_than_it_has_bytes() {
    const ROUNDS: usize = 40;
    const ROUND_BYTES: usize = 100_000;
    for driver in [Driver::IoUring, Driver::Epoll] {
        let (held, reads) = on_a_shard(driver, |found| async move {
            let (socket, mut peer) = pair().await;
            let (mut reader, _writer, _kill) = socket.split();
            let before = lent_bytes();
            let (waits, whole) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let (begun, over) = (waits.clone(), whole.clone());
            spawn(async move {
                let (mut reads, mut total) = (Vec::new(), 0);
                while total < ROUNDS * ROUND_BYTES {
                    if total % ROUND_BYTES == 0 {
                        begun.set(total / ROUND_BYTES + 1);
                    }
                    let (result, buf) = reader.read_body(256 * 1024).await;
                    let bytes = result.expect("bytes");
                    total += bytes;
                    reads.push((bytes, buf.capacity()));
                }
                over.set(true);
                found.send((lent_bytes() - before, reads)).expect("the test waits");
            });
            for round in 1..=ROUNDS {
                while waits.get() < round {
                    sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(lent_bytes(), before, "a read that waits has memory");
                // What the kernel does not take at once it takes while the reader has its turns.
                let mut rest = &[7; ROUND_BYTES][..];
                peer.set_nonblocking(true).expect("a socket");
                while !rest.is_empty() {
                    match peer.write(rest) {
                        Ok(bytes) => rest = &rest[bytes..],
                        Err(_full) => sleep(Duration::from_millis(1)).await,
                    }
                }
            }
            while !whole.get() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let fitting = |bytes: usize| [4, 64, 128, 256].map(|kib| kib * 1024).into_iter().find(|size| bytes <= *size);
        assert!(reads.iter().all(|(bytes, size)| fitting(*bytes) == Some(*size)), "{driver:?}: {reads:?}");
        assert!(reads.iter().any(|(bytes, _)| *bytes > 64 * 1024), "{driver:?}: {reads:?}");
        assert_eq!(held, 0, "{driver:?}");
    }
}

/// Must not be deleted: a write to a peer that does not read is ended the same way; if it hung, a slow reader would hold its
/// task, its buffer and its upstream for ever.
#[test]
fn a_write_ended_by_shutdown_comes_back() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let failed = on_a_shard(driver, |found| async move {
            let (socket, peer) = pair().await;
            let (_reader, mut writer, kill) = socket.split();
            spawn(async move {
                loop {
                    let mut buf = Buf::of(64 * 1024);
                    buf.advance(64 * 1024);
                    if let Err(error) = writer.write_all(buf).await {
                        found.send(error.kind()).expect("the test waits");
                        drop(peer);
                        return;
                    }
                }
            });
            sleep(Duration::from_millis(50)).await;
            kill.end();
        });
        assert_eq!(failed, std::io::ErrorKind::BrokenPipe, "{driver:?}");
    }
}

/// Must not be deleted: the runtime shuts a connection's writing half down when it is dropped, which the peer reads as an
/// orderly end. An answer that broke off must end in a reset, or a body without a length looks whole.
#[test]
fn a_reset_reaches_the_peer_before_an_orderly_end_could() {
    let seen = on_a_shard(Driver::IoUring, |found| async move {
        let (socket, mut peer) = pair().await;
        let (reader, mut writer, kill) = socket.split();
        writer.write_all(Buf::copy_of(b"half")).await.expect("a write");
        let mut half = [0; 4];
        peer.read_exact(&mut half).expect("half an answer");
        kill.reset();
        drop((reader, writer, kill));
        found.send(peer.read(&mut half).map_err(|error| error.kind())).expect("the test waits");
    });
    assert_eq!(seen, Err(std::io::ErrorKind::ConnectionReset));
}

/// Must not be deleted: the runtime lets a panic unwind through the whole shard ("for efficiency we do not catch"), so one
/// stranger's request could end thousands of streams. Only the guard around each connection stands between.
#[test]
fn a_panic_in_one_connection_ends_that_connection_only() {
    struct NoteDrop(Rc<Cell<bool>>);
    impl Drop for NoteDrop {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let (result, dropped, later) = on_a_shard(Driver::IoUring, |found| async move {
        let dropped = Rc::new(Cell::new(false));
        let ended = Rc::new(RefCell::new(None));
        let (owned, outcome) = (NoteDrop(dropped.clone()), ended.clone());
        spawn(async move {
            let task = Box::pin(async move {
                let _owned = owned;
                sleep(Duration::from_millis(5)).await;
                if lent_bytes() < usize::MAX {
                    panic!("planted: the guard under test must catch this");
                }
            });
            let result = guarded(task).await;
            *outcome.borrow_mut() = Some(result);
        });
        sleep(Duration::from_millis(50)).await;
        // The shard goes on: IO and timers still work on it.
        let (socket, mut peer) = pair().await;
        let (_reader, mut writer, _kill) = socket.split();
        writer.write_all(Buf::copy_of(b"alive")).await.expect("a write");
        let mut later = [0; 5];
        peer.read_exact(&mut later).expect("the shard lives");
        let result = ended.borrow_mut().take();
        found.send((result, dropped.get(), later)).expect("the test waits");
    });
    assert_eq!(result, Some(None), "the guard says that its task panicked");
    assert!(dropped, "what the connection owned is dropped, its record settled");
    assert_eq!(&later, b"alive");
}

/// Must not be deleted: an accept that is dropped after it completed loses a client's connection and leaks its descriptor.
/// The accept loop is never dropped; this shows that it takes every connection, however they come, beside other work.
#[test]
fn no_accept_is_lost_beside_timers_and_traffic() {
    const CLIENTS: usize = 500;
    for driver in [Driver::IoUring, Driver::Epoll] {
        let (bound, addr) = listener();
        let served = on_a_shard(driver, move |found| async move {
            let listener = Listener::new(bound).expect("a listener");
            let served = Rc::new(Cell::new(0));
            spawn(async move {
                loop {
                    let (socket, _) = listener.accept().await.expect("a connection");
                    let (served, found) = (served.clone(), found.clone());
                    spawn(async move {
                        let (mut reader, mut writer, _kill) = socket.split();
                        let (result, buf) = reader.read(Buf::small()).await;
                        if result.is_ok_and(|bytes| bytes > 0) && writer.write_all(buf).await.is_ok() {
                            served.set(served.get() + 1);
                        }
                        if served.get() == CLIENTS {
                            found.send(served.get()).expect("the test waits");
                        }
                    });
                }
            });
            thread::spawn(move || {
                for turn in 0..CLIENTS {
                    let mut client = TcpStream::connect(addr).expect("a connection");
                    client.write_all(&[turn as u8]).expect("a byte");
                    let mut echo = [0];
                    client.read_exact(&mut echo).expect("an echo");
                    assert_eq!(echo[0], turn as u8);
                }
            });
            loop {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(served, CLIENTS, "{driver:?}");
    }
}

/// Must not be deleted: deadlines, leases and configuration all hang on one timer. A runtime that only looks at its timers
/// when it has nothing else to do would stop all of them on a busy shard.
#[test]
fn timers_run_while_io_is_busy() {
    let (bytes, ticks) = on_a_shard(Driver::IoUring, |found| async move {
        let (socket, mut peer) = pair().await;
        let (mut reader, _writer, _kill) = socket.split();
        thread::spawn(move || while peer.write_all(&[1; 64 * 1024]).is_ok() {});
        let bytes = Rc::new(Cell::new(0_u64));
        let counted = bytes.clone();
        spawn(async move {
            loop {
                let (result, _) = reader.read(Buf::small()).await;
                counted.set(counted.get() + result.expect("bytes") as u64);
            }
        });
        let mut ticks = 0;
        while bytes.get() < 256 << 20 {
            sleep(Duration::from_millis(1)).await;
            ticks += 1;
        }
        found.send((bytes.get(), ticks)).expect("the test waits");
    });
    assert!(ticks > 20, "{ticks} ticks beside {bytes} bytes");
}

/// Must not be deleted: a dropped operation's memory belongs to the kernel until it completes. Weir drops only a connect,
/// at its deadline; its socket must close with it, or each upstream that hangs leaks a descriptor per attempt.
#[test]
fn a_connect_given_up_at_its_deadline_leaves_no_descriptor_behind() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    full.listen(0).expect("a listener");
    let addr = full.local_addr().expect("an address").as_socket().expect("an IP address");
    let fillers: Vec<_> = (0..8)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            filler.set_nonblocking(true).expect("an option");
            let _under_way = filler.connect(&addr.into());
            filler
        })
        .collect();
    let timed_out = on_a_shard(Driver::IoUring, move |found| async move {
        let mut timed_out = 0;
        for _ in 0..200 {
            let connected = Socket::connect(addr, Duration::from_millis(2)).await;
            timed_out += usize::from(connected.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut));
        }
        // What was cancelled has come back once another operation has.
        drop(pair().await);
        sleep(Duration::from_millis(50)).await;
        found.send(timed_out).expect("the test waits");
    });
    assert_eq!(timed_out, 200);
    // Other tests of this process hold descriptors of their own, a few each; a leak would be two hundred.
    let open = descriptors();
    assert!(open < 150, "{open} descriptors are open");
    drop(fillers);
}

/// Must not be deleted: a client too slow to send is told so, and may be too slow to take even that. If its first deadline
/// silenced the others, it would keep its connection for ever.
#[test]
fn a_write_is_still_ended_after_the_time_for_reading_has_passed() {
    let (passed, read, failed) = on_a_shard(Driver::IoUring, |found| async move {
        let (socket, peer) = pair().await;
        let (mut reader, mut writer, kill) = socket.split();
        let sweeper = Rc::new(Sweeper::new(MonoUs(0), 0));
        let deadlines = sweeper.watch(kill);
        deadlines.arm(Awaited::Read, MonoUs(1000));
        sweeper.advance(MonoUs(2000), 0);
        sweeper.sweep();
        let (read, _) = reader.read(Buf::small()).await;
        let passed = deadlines.passed();
        deadlines.arm(Awaited::Write, MonoUs(3000));
        let later = sweeper.clone();
        spawn(async move {
            sleep(Duration::from_millis(50)).await;
            later.advance(MonoUs(4000), 0);
            later.sweep();
        });
        let failed = loop {
            let mut buf = Buf::of(64 * 1024);
            buf.advance(64 * 1024);
            if let Err(error) = writer.write_all(buf).await {
                break error.kind();
            }
        };
        found.send((passed, read.ok(), failed)).expect("the test waits");
        drop(peer);
    });
    assert_eq!((passed, read), (Some(Awaited::Read), Some(0)));
    assert_eq!(failed, std::io::ErrorKind::BrokenPipe);
}
