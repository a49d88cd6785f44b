//! One TCP connection: buffered reads, writes that notice a client leaving, and the rude ways to end.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes asked for in one read.
const READ_BYTES: usize = 8 << 10;
/// Bytes of early (pipelined or still uploading) input kept while an answer is being sent; beyond it the socket is
/// left alone and a disconnect shows in the next write.
const AHEAD_BYTES_MAX: usize = 256 << 10;

/// How long a reset waits for what was sent to arrive, and how often it looks.
const ARRIVAL_WAIT: Duration = Duration::from_secs(1);
const ARRIVAL_LOOK: Duration = Duration::from_millis(1);

/// The client closed or reset the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Conn {
    pub(super) fn new(stream: TcpStream) -> Conn {
        Conn { stream, buffer: Vec::new(), start: 0 }
    }

    /// Bytes received and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Waits for more input.
    pub(super) async fn fill(&mut self) -> Result<(), Gone> {
        self.make_room();
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Moves exactly `bytes` of input to the end of `body`.
    pub(super) async fn take_into(&mut self, body: &mut Vec<u8>, bytes: usize) -> Result<(), Gone> {
        let ready = self.unread().len().min(bytes);
        body.extend_from_slice(&self.unread()[..ready]);
        self.consume(ready);
        let mut rest = (bytes - ready) as u64;
        while rest > 0 {
            match (&mut self.stream).take(rest).read_buf(body).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(read) => rest -= read as u64,
            }
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(READ_BYTES);
    }

    /// Writes everything; a client that leaves meanwhile ends it.
    pub(super) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), Gone> {
        loop {
            if self.ahead_is_full() {
                return self.stream.writable().await.map_err(|_| Gone);
            }
            tokio::select! {
                biased;
                ready = self.stream.writable() => return ready.map_err(|_| Gone),
                ready = self.stream.readable() => ready.map_err(|_| Gone)?,
            }
            self.look()?;
        }
    }

    /// Sleeps until `deadline`, or less if the client leaves.
    pub(super) async fn watch_until(&mut self, deadline: Instant) -> Result<(), Gone> {
        let sleep = tokio::time::sleep_until(deadline);
        tokio::pin!(sleep);
        loop {
            if self.ahead_is_full() {
                sleep.await;
                return Ok(());
            }
            tokio::select! {
                biased;
                () = &mut sleep => return Ok(()),
                ready = self.stream.readable() => ready.map_err(|_| Gone)?,
            }
            self.look()?;
        }
    }

    /// Waits for the client to leave.
    pub(super) async fn watch(&mut self) -> Gone {
        while self.watch_until(Instant::now() + Duration::from_secs(3600)).await.is_ok() {}
        Gone
    }

    /// Takes what has arrived without waiting.
    pub(super) fn look(&mut self) -> Result<(), Gone> {
        while !self.ahead_is_full() {
            self.make_room();
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(Gone),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn ahead_is_full(&self) -> bool {
        self.unread().len() >= AHEAD_BYTES_MAX
    }

    /// Ends with RST instead of FIN, once everything sent has arrived: a reset takes along what is still on its way, and an answer
    /// that is to be whole would not be. A client that does not take it does not get it.
    pub(super) async fn reset(self) {
        let until = Instant::now() + ARRIVAL_WAIT;
        while !self.has_arrived() && Instant::now() < until {
            tokio::time::sleep(ARRIVAL_LOOK).await;
        }
        // A socket that refuses the option is already dead, and closing it is all that is left to do.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Has the client's system acknowledged every byte? Told by the fifth word of the connection's line in `/proc/net/tcp` (proc(5):
    /// `tx_queue:rx_queue`); where there is no such line, or the connection is one of IPv6, nobody waits.
    fn has_arrived(&self) -> bool {
        let (Ok(SocketAddr::V4(ours)), Ok(SocketAddr::V4(theirs))) =
            (self.stream.local_addr(), self.stream.peer_addr())
        else {
            return true;
        };
        let written = |a: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(a.ip().octets()), a.port());
        let (ours, theirs) = (written(ours), written(theirs));
        let connections = std::fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
        let mut lines = connections.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.get(1..3) == Some(&[ours.as_str(), theirs.as_str()]));
        line.is_none_or(|words| words.get(4).is_none_or(|queues| queues.starts_with("00000000:")))
    }

    /// Ends with FIN even when input lies unread, which the kernel would turn into RST; what still arrives within
    /// the deadline is dropped.
    pub(super) async fn close(mut self) {
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        let drained = async {
            loop {
                self.consume(self.unread().len());
                if self.fill().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
    }
}
