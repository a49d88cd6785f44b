//! One TCP connection: buffered reads, writes that notice a client leaving, and the rude ways to end.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes asked for in one read.
const READ_BYTES: usize = 8 << 10;
/// Bytes of early (pipelined or still uploading) input kept while an answer is being sent; beyond it the socket is
/// left alone and a disconnect shows in the next write.
const AHEAD_BYTES_MAX: usize = 256 << 10;

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

    /// Ends with RST instead of FIN.
    pub(super) fn reset(self) {
        // A socket that refuses the option is already dead, and closing it is all that is left to do.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
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
