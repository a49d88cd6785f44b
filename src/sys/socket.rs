//! Sockets, split into a reading and a writing half, plain or TLS, and the switch that ends both.
//!
//! Nothing here is ever dropped while the kernel works on it: to end a read or a write, its socket is shut down (`Kill`), and
//! the operation comes back by itself. Only a connect is dropped at its deadline; its socket closes with it.
//!
//! Little that is written goes to the kernel at once, in a call of its own, and only what the kernel does not take then waits in the
//! ring. A send through the ring costs an operation, a completion and one more round of the shard's tasks, and until that round has
//! come to this connection others have taken its memory out of the processor's caches. Bulk goes through the ring (tuning/README.md).
//!
//! Likewise a read waits in the ring until there is something, and then takes it in a call of its own, into the buffer that was used
//! last: a connection that waits holds no buffer.
#![allow(unsafe_code, reason = "shutdown, peek, borrowed descriptors and a pinned operation")]

use super::{
    buf::{Buf, Part, Rested, Send, SendPart},
    tls::{Taken, TlsReader, TlsWriter},
};
use crate::kernel::limits::BULK_BUFFER_BYTES;
use monoio::{
    io::{AsyncWriteRent, Canceller, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::{TcpListener, TcpStream},
};
use std::{
    cell::{RefCell, UnsafeCell},
    future::Future,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

pub(super) type RawRead = OwnedReadHalf<TcpStream>;
pub(super) type RawWrite = OwnedWriteHalf<TcpStream>;
/// What both halves share.
pub(super) type RawStream = Rc<UnsafeCell<TcpStream>>;

/// What is sent in a call of its own, at most. Bytes: heads, events and short answers are shorter, parts of a large body are not.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;
/// Connections the kernel queues for a listener that is busy.
const BACKLOG: i32 = 4096;

/// Binds a listening socket that several shards can share a port with. Port 0 takes a free one.
pub fn bind(address: SocketAddr, shared_port: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.cloexec().nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared_port)?;
    // Accepted sockets inherit it, which saves a system call for each of them.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A shard's listener.
pub struct Listener {
    socket: TcpListener,
    canceller: RefCell<Option<Canceller>>,
}

impl Listener {
    /// Takes over a bound socket; on the shard's own thread.
    pub fn new(bound: std::net::TcpListener) -> io::Result<Self> {
        let socket = TcpListener::from_std(bound)?;
        Ok(Self { socket, canceller: RefCell::new(Some(Canceller::new())) })
    }

    /// The next connection. Never dropped while it waits: a completed accept would leak its descriptor. `stop` ends it.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let handle = self.canceller.borrow().as_ref().map(Canceller::handle);
        let (stream, peer) = match handle {
            Some(handle) => self.socket.cancelable_accept(handle).await?,
            None => self.socket.accept().await?,
        };
        Ok((Socket(stream), peer))
    }

    /// Ends the accept under way: it comes back with an error, or with the connection that it had already. Connections that wait
    /// in the socket's queue stay there, for whoever else has this socket.
    pub fn stop(&self) {
        let canceller = self.canceller.borrow_mut().take();
        *self.canceller.borrow_mut() = canceller.map(Canceller::cancel);
    }
}

/// A connected socket, not yet split.
pub struct Socket(pub(super) TcpStream);

impl Socket {
    /// Connects, or gives up at the deadline.
    pub async fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = monoio::time::timeout(timeout, TcpStream::connect_addr(address))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect timed out"))??;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Splits a plain socket.
    pub fn split(self) -> (Reader, Writer, Kill) {
        let (read, write) = self.0.into_split();
        let kill = Kill(read.0.clone());
        (Reader(ReadSide::Plain(RawReader::new(read))), Writer(WriteSide::Plain(write)), kill)
    }
}

/// Ends a connection's operations from outside, without taking anything from the kernel.
#[derive(Clone)]
pub struct Kill(pub(super) RawStream);

impl Kill {
    fn descriptor(&self) -> i32 {
        descriptor(&self.0)
    }

    fn shutdown(&self, how: i32) {
        // SAFETY: the descriptor is open, since this switch keeps its stream alive. An error means that it was shut down already.
        let _already = unsafe { libc::shutdown(self.descriptor(), how) };
    }

    /// Ends both directions: every operation in flight comes back.
    pub fn end(&self) {
        self.shutdown(libc::SHUT_RDWR);
    }

    /// Ends the reading direction: a read in flight comes back empty, writing still works.
    pub fn end_reading(&self) {
        self.shutdown(libc::SHUT_RD);
    }

    /// Resets the connection now: the honest end of an answer that broke off. A close alone would not do: the runtime shuts
    /// the writing half down before it closes, and the peer would read an orderly end first.
    pub fn reset(&self) {
        // SAFETY: the descriptor is open as long as `self`, which outlives this borrow.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.descriptor()) };
        let _closed = socket2::SockRef::from(&descriptor).set_linger(Some(Duration::ZERO));
        // SAFETY: all zeroes is a valid sockaddr, of the family AF_UNSPEC (0), which takes a connection apart with a reset.
        let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
        let len = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: `nowhere` is valid for `len` bytes and outlives the call. An error means that nobody is connected any more.
        let _gone = unsafe { libc::connect(self.descriptor(), &raw const nowhere, len) };
    }

    /// Has the peer ended or reset the connection? Seen even behind bytes that nobody has read yet.
    pub fn is_left(&self) -> bool {
        let mut seen = libc::pollfd { fd: self.descriptor(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one valid pollfd is handed over, it outlives the call, and with a timeout of 0 the call does not wait.
        let found = unsafe { libc::poll(&raw mut seen, 1, 0) };
        found > 0
    }

    /// Is an idle connection still usable? Looks without waiting. Bytes that wait are as bad as an end: nobody asked for them.
    /// (Over TLS the session tickets come in front of the first answer, so what waits later is a goodbye or worse.)
    pub fn is_quiet(&self) -> bool {
        let mut byte = 0u8;
        // SAFETY: one byte may be written to `byte`, which outlives the call; the descriptor is open.
        let seen =
            unsafe { libc::recv(self.descriptor(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        seen < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }
}

/// The reading half.
pub struct Reader(pub(super) ReadSide);

pub(super) enum ReadSide {
    Plain(RawReader),
    Tls(TlsReader),
}

impl Reader {
    /// Reads behind the filled part of a buffer. 0 is the end. The buffer comes back in any case.
    pub fn read(&mut self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        match &mut self.0 {
            ReadSide::Plain(raw) => Transfer::Plain(raw.read(buf)),
            ReadSide::Tls(stream) => Transfer::Tls(Box::pin(stream.read(buf))),
        }
    }

    /// Reads what waits of a large body into a buffer of fitting size, with room for `bytes_max` at most or little more. 0 is the end.
    pub fn read_body(&mut self, bytes_max: usize) -> impl Future<Output = (io::Result<usize>, Buf)> {
        match &mut self.0 {
            ReadSide::Plain(raw) => Transfer::Plain(raw.read_into(Rested::Sized { bytes_max })),
            ReadSide::Tls(stream) => {
                Transfer::Tls(Box::pin(stream.read(Buf::fitting(bytes_max.min(BULK_BUFFER_BYTES)))))
            }
        }
    }

    /// Has everything been read that was taken from the socket? A TLS session may hold more than one read asked for.
    pub fn is_drained(&self) -> bool {
        match &self.0 {
            ReadSide::Plain(_) => true,
            ReadSide::Tls(stream) => stream.is_drained(),
        }
    }
}

/// The reading half of a socket, below TLS.
pub(super) struct RawReader {
    stream: RawRead,
    /// The last read waited for what it brought, and was filled: more may lie there, and the next one looks before it waits. Every
    /// second read waits, so that other connections get their turn.
    more: bool,
}

impl RawReader {
    pub(super) fn new(stream: RawRead) -> Self {
        Self { stream, more: false }
    }

    /// The switch of this connection.
    pub(super) fn kill(&self) -> Kill {
        Kill(self.stream.0.clone())
    }

    /// Reads behind the filled part of a buffer; 0 is the end. An empty buffer is given back while there is nothing to be read.
    pub(super) fn read(&mut self, buf: Buf) -> impl Future<Output = (io::Result<usize>, Buf)> {
        debug_assert!(buf.room() > 0, "a read without room would look like the end");
        self.read_into(buf.rest())
    }

    fn read_into(&mut self, rested: Rested) -> impl Future<Output = (io::Result<usize>, Buf)> {
        let looks = std::mem::take(&mut self.more);
        Reading { stream: &self.stream.0, more: &mut self.more, looks, wait: readable, ready: None, rested }
    }
}

/// A read under way. By hand: an async function would keep the buffer three times, and there are two of these in each stream.
struct Reading<'r, W, R> {
    stream: &'r RawStream,
    more: &'r mut bool,
    /// Looks before it waits.
    looks: bool,
    wait: W,
    ready: Option<R>,
    rested: Rested,
}

impl<'r, W, R> Future for Reading<'r, W, R>
where
    W: Fn(&'r RawStream) -> R,
    R: Future<Output = io::Result<()>>,
{
    type Output = (io::Result<usize>, Buf);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: of its fields only `ready` must not be moved: it is polled and dropped where it lies.
        let this = unsafe { self.get_unchecked_mut() };
        loop {
            let waited = !std::mem::take(&mut this.looks);
            let mut failed = None;
            if waited {
                let ready = this.ready.get_or_insert_with(|| (this.wait)(this.stream));
                // SAFETY: as above.
                failed = ready!(unsafe { Pin::new_unchecked(ready) }.poll(cx)).err();
                this.ready = None;
            }
            let sized = this.rested.sized();
            let mut buf = std::mem::take(&mut this.rested).taken_up(|| waiting_bytes(this.stream));
            let received = failed.map(Err).or_else(|| receive_now(this.stream, &mut buf));
            if let Some(result) = received {
                *this.more = waited && buf.room() == 0;
                return Poll::Ready((result, buf));
            }
            this.rested = sized.unwrap_or_else(|| buf.rest());
        }
    }
}

/// The writing half.
pub struct Writer(pub(super) WriteSide);

pub(super) enum WriteSide {
    Plain(RawWrite),
    Tls(TlsWriter),
}

impl Writer {
    /// Writes the filled part, or as much of it as the peer takes at once; the buffer comes back with what is left.
    pub fn write(&mut self, buf: Buf) -> impl Future<Output = (io::Result<()>, Buf)> {
        match &mut self.0 {
            WriteSide::Plain(stream) => match send_little(&stream.0, buf.filled()) {
                Some(result) => Transfer::over((result, Send(buf)).handed_back()),
                None => Transfer::Plain(stream.write(Send(buf))),
            },
            WriteSide::Tls(stream) => match stream.write_now(buf.filled()) {
                Ok(Taken::All) => Transfer::over((Ok(()), emptied(buf))),
                Ok(Taken::Some(bytes)) => Transfer::Tls(Box::pin(async move {
                    let result = stream.write(&buf.filled()[bytes..]).await;
                    (result, emptied(buf))
                })),
                Err(error) => Transfer::over((Err(error), buf)),
            },
        }
    }

    /// Writes the filled part to its end.
    pub async fn write_all(&mut self, mut buf: Buf) -> io::Result<()> {
        while !buf.is_empty() {
            let (result, left) = self.write(buf).await;
            result?;
            buf = left;
        }
        Ok(())
    }

    /// Writes a shared part, or as much of it as the peer takes at once; it comes back as what is left.
    pub fn write_part(&mut self, part: Part) -> impl Future<Output = (io::Result<()>, Part)> {
        match &mut self.0 {
            WriteSide::Plain(stream) => match send_little(&stream.0, part.bytes()) {
                Some(result) => Transfer::over((result, SendPart(part)).handed_back()),
                None => Transfer::Plain(stream.write(SendPart(part))),
            },
            WriteSide::Tls(stream) => match stream.write_now(part.bytes()) {
                Ok(Taken::All) => Transfer::over((Ok(()), part.slice(part.len()..part.len()))),
                Ok(Taken::Some(bytes)) => Transfer::Tls(Box::pin(async move {
                    let result = stream.write(&part.bytes()[bytes..]).await;
                    (result, part.slice(part.len()..part.len()))
                })),
                Err(error) => Transfer::over((Err(error), part)),
            },
        }
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        if let WriteSide::Tls(stream) = &mut self.0 {
            Box::pin(stream.say_goodbye()).await;
        }
        let raw = match &self.0 {
            WriteSide::Plain(stream) => &stream.0,
            WriteSide::Tls(stream) => stream.raw(),
        };
        Kill(raw.clone()).shutdown(libc::SHUT_WR);
    }
}

/// Sends what is little, as far as the kernel takes it without waiting. `None` if it is to be sent through the ring.
pub(super) fn send_little(stream: &RawStream, bytes: &[u8]) -> Option<io::Result<usize>> {
    if bytes.len() <= AT_ONCE_BYTES_MAX { send_now(stream, bytes) } else { None }
}

/// Sends as much as the kernel takes without waiting. `None` if that is nothing, and to be waited for.
fn send_now(stream: &RawStream, bytes: &[u8]) -> Option<io::Result<usize>> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is valid for its length and outlives the call; the descriptor is open as long as `stream`.
    at_once(unsafe { libc::send(descriptor(stream), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Waits until there is something to be read, or the end.
fn readable(stream: &RawStream) -> impl Future<Output = io::Result<()>> {
    // SAFETY: the stream lives as long as `stream`, on this thread alone, and is never moved or replaced. What the halves do
    // with it meanwhile changes nothing in it: they read its descriptor, as this does.
    unsafe { &*stream.get() }.readable(false)
}

/// How much there is to be read; 0 if nobody knows.
fn waiting_bytes(stream: &RawStream) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one `int`, which `bytes` is, and it outlives the call; the descriptor is open as long as `stream`.
    let known = unsafe { libc::ioctl(descriptor(stream), libc::FIONREAD, &raw mut bytes) } == 0;
    if known { bytes.unsigned_abs() as usize } else { 0 }
}

/// Receives what is there, behind the filled part. `None` if that is nothing, and to be waited for.
fn receive_now(stream: &RawStream, buf: &mut Buf) -> Option<io::Result<usize>> {
    let room = buf.spare_mut();
    // SAFETY: `room` is valid for its length and outlives the call; the descriptor is open as long as `stream`.
    let received = unsafe { libc::recv(descriptor(stream), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    let result = at_once(received)?;
    if let Ok(bytes) = result {
        buf.advance(bytes);
    }
    Some(result)
}

fn descriptor(stream: &RawStream) -> i32 {
    // SAFETY: only the descriptor's number is read, no reference outlives this expression, and all halves live on this thread.
    unsafe { (*stream.get()).as_raw_fd() }
}

/// What a call says that does not wait; `None` if there was nothing to be had.
fn at_once(returned: isize) -> Option<io::Result<usize>> {
    if let Ok(bytes) = usize::try_from(returned) {
        return Some(Ok(bytes));
    }
    let error = io::Error::last_os_error();
    let waits = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    (!waits).then_some(Err(error))
}

/// What has been written is not needed any more; its memory is.
fn emptied(mut buf: Buf) -> Buf {
    buf.consume(buf.len());
    buf
}

/// A read or write under way. Over a plain socket it is a wait for readiness, or the kernel's own operation; what TLS needs around it
/// is much larger, and every connection would carry that room about if it did not stand apart.
enum Transfer<P, T: Future> {
    /// Nothing had to be waited for; empty once it has been said.
    Over(Option<T::Output>),
    Plain(P),
    Tls(Pin<Box<T>>),
}

impl<P, T: Future> Transfer<P, T> {
    fn over(output: T::Output) -> Self {
        Self::Over(Some(output))
    }
}

impl<P, T> Future for Transfer<P, T>
where
    P: Future<Output: Handed<Back = T::Output>>,
    T: Future,
{
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        // SAFETY: the operation is pinned as long as `self` is: it is not moved out of here, and dropped where it lies.
        match unsafe { self.get_unchecked_mut() } {
            // SAFETY: as above.
            Self::Plain(operation) => unsafe { Pin::new_unchecked(operation) }.poll(cx).map(Handed::handed_back),
            Self::Tls(steps) => steps.as_mut().poll(cx),
            // Nobody polls a future again that has ended.
            Self::Over(output) => output.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

/// What the kernel hands back, and what becomes of it.
trait Handed {
    type Back;
    fn handed_back(self) -> Self::Back;
}

impl Handed for (io::Result<usize>, Buf) {
    type Back = Self;

    fn handed_back(self) -> Self {
        self
    }
}

/// Nothing written is an error: to try again could take for ever.
fn some(result: io::Result<usize>) -> io::Result<usize> {
    result.and_then(|bytes| if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) })
}

impl Handed for (io::Result<usize>, Send) {
    type Back = (io::Result<()>, Buf);

    fn handed_back(self) -> Self::Back {
        let (result, Send(mut buf)) = self;
        (some(result).map(|written| buf.consume(written)), buf)
    }
}

impl Handed for (io::Result<usize>, SendPart) {
    type Back = (io::Result<()>, Part);

    fn handed_back(self) -> Self::Back {
        let (result, SendPart(part)) = self;
        match some(result) {
            Ok(written) => (Ok(()), part.slice(written..part.len())),
            Err(error) => (Err(error), part),
        }
    }
}
