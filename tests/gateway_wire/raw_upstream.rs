//! An upstream that speaks exactly the bytes a test wants, however wrong they are.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::DEADLINE;

/// One accepted connection.
pub struct Peer {
    pub stream: TcpStream,
    /// Which connection, from 0.
    pub number: usize,
    /// The last whole request, head and body.
    pub request: Vec<u8>,
    ahead: Vec<u8>,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    /// Takes the next request whole; `None` when the gateway has closed.
    pub fn read_request(&mut self) -> Option<()> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.ahead[..end]);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let total = end + length.unwrap_or(0);
        while self.ahead.len() < total {
            self.fill()?;
        }
        self.request = self.ahead.drain(..total).collect();
        self.requests.fetch_add(1, Ordering::SeqCst);
        Some(())
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // A gateway that has left already is what some tests are about; they look at what it says.
        let _gone = self.stream.write_all(bytes);
    }

    /// Ends with a reset.
    pub fn reset(self) {
        let _closed = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends our direction in order, then waits for the gateway's.
    pub fn finish(mut self) {
        let _closed = self.stream.shutdown(Shutdown::Write);
        while self.fill().is_some() {}
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                self.ahead.extend_from_slice(&buffer[..read]);
                Some(())
            }
        }
    }
}

/// A listener that plays a part for each connection.
pub struct RawUpstream {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    failures: Receiver<String>,
}

impl RawUpstream {
    /// Starts it. `play` has each accepted connection to itself; its panic fails the test at `check`.
    pub fn start(play: impl Fn(Peer) + Send + Sync + 'static) -> RawUpstream {
        RawUpstream::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), play)
    }

    /// The same at an address.
    pub fn start_at(addr: SocketAddr, play: impl Fn(Peer) + Send + Sync + 'static) -> RawUpstream {
        let listener = TcpListener::bind(addr).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (sender, failures) = mpsc::channel();
        let (play, sender) = (Arc::new(play), Mutex::new(sender));
        let (seen, accepted) = (requests.clone(), connections.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
                stream.set_nodelay(true).expect("TCP_NODELAY");
                let peer = Peer { stream, number, request: Vec::new(), ahead: Vec::new(), requests: seen.clone() };
                let (play, sender) = (play.clone(), sender.lock().expect("no panic while it is held").clone());
                thread::spawn(move || {
                    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(peer)));
                    if played.is_err() {
                        let _test_is_over = sender.send(format!("the upstream failed on connection {number}"));
                    }
                });
            }
        });
        RawUpstream { addr, requests, connections, failures }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Whole requests received so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Fails if the part that was played failed.
    pub fn check(&self) {
        if let Ok(failure) = self.failures.try_recv() {
            panic!("{failure}");
        }
    }
}

/// A whole answer with content-length.
pub fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_raw\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A message that costs something.
pub const MESSAGE: &str = r#"{"id":"msg_raw","type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;
