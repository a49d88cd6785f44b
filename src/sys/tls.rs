//! TLS: our own glue between rustls and the socket halves. Both halves share one session; a raw buffer is held only while
//! there is something in it; ciphertext leaves in one send per write.
//!
//! The session is never borrowed across an await. A read that is shut down just ends: there is nothing to restore.

use super::{
    buf::Buf,
    socket::{Kill, RawReader, RawStream, RawWrite, ReadSide, Reader, Socket, WriteSide, Writer, send_little},
};
use crate::kernel::limits::{BULK_BUFFER_BYTES, SMALL_BUFFER_BYTES};
use monoio::io::{AsyncWriteRentExt, Splitable};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};
use std::{
    cell::RefCell,
    io::{self, Read, Write},
    rc::Rc,
    sync::Arc,
};

/// Ciphertext buffers larger than this are not kept between writes. Bytes.
const KEPT_CIPHERTEXT_BYTES: usize = 8 * 1024;

struct Shared {
    session: RefCell<Connection>,
}

/// The reading half of a TLS connection.
pub struct TlsReader {
    raw: RawReader,
    shared: Rc<Shared>,
    ciphertext: Option<Buf>,
}

/// The writing half of a TLS connection.
pub struct TlsWriter {
    raw: RawWrite,
    shared: Rc<Shared>,
    /// What the session has said; from `sent` on it is still to be sent.
    ciphertext: Vec<u8>,
    sent: usize,
}

/// How much of a plaintext is on its way.
pub(super) enum Taken {
    /// All of it is sent.
    All,
    /// So many bytes are encrypted, and the kernel takes no more for now.
    Some(usize),
}

/// What the handshake found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// An earlier session was resumed.
    pub resumed: bool,
}

/// A TLS connection, ready for bytes.
pub struct Secured {
    /// Reading half.
    pub reader: Reader,
    /// Writing half.
    pub writer: Writer,
    /// The switch for both.
    pub kill: Kill,
    /// What the handshake found out.
    pub handshake: Handshake,
    /// The certificate the peer has shown and proven, in DER.
    pub certificate: Option<Box<[u8]>>,
}

/// A handshake about to be made; `kill` ends it at a deadline.
pub struct Handshaking {
    reader: TlsReader,
    writer: TlsWriter,
    /// The switch.
    pub kill: Kill,
}

/// Begins the handshake of a client that connected to us.
pub fn accept(socket: Socket, config: Arc<ServerConfig>) -> io::Result<Handshaking> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let (read, write) = socket.0.into_split();
    Ok(begin(RawReader::new(read), write, session.into()))
}

/// Begins the handshake with an upstream, over a connection that has carried nothing, or only what a proxy was told.
pub fn connect(
    (reader, writer): (Reader, Writer),
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<Handshaking> {
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    match (reader.0, writer.0) {
        (ReadSide::Plain(read), WriteSide::Plain(write)) => Ok(begin(read, write, session.into())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS within TLS")),
    }
}

fn begin(read: RawReader, write: RawWrite, session: Connection) -> Handshaking {
    let kill = read.kill();
    let shared = Rc::new(Shared { session: RefCell::new(session) });
    Handshaking {
        reader: TlsReader { raw: read, shared: shared.clone(), ciphertext: None },
        writer: TlsWriter { raw: write, shared, ciphertext: Vec::new(), sent: 0 },
        kill,
    }
}

impl Handshaking {
    /// Shakes hands. On failure the peer is told why as far as TLS has words for it.
    pub async fn finish(mut self) -> io::Result<Secured> {
        while self.reader.shared.session.borrow().is_handshaking() {
            self.writer.flush().await?;
            if !self.reader.shared.session.borrow().is_handshaking() {
                break;
            }
            if let Err(error) = self.reader.take_in(SMALL_BUFFER_BYTES).await {
                let _peer_gone = self.writer.flush().await;
                return Err(error);
            }
        }
        self.writer.flush().await?;
        let resumed = self.reader.shared.session.borrow().handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let shown = self.reader.shared.session.borrow().peer_certificates().and_then(|chain| chain.first().cloned());
        Ok(Secured {
            reader: Reader(ReadSide::Tls(self.reader)),
            writer: Writer(WriteSide::Tls(self.writer)),
            kill: self.kill,
            handshake: Handshake { resumed },
            certificate: shown.map(|certificate| certificate.as_ref().into()),
        })
    }
}

impl TlsReader {
    /// Reads plaintext behind the filled part of a buffer; 0 is an orderly end, an end without goodbye is an error.
    pub(super) async fn read(&mut self, mut buf: Buf) -> (io::Result<usize>, Buf) {
        let raw_bytes = if buf.capacity() >= BULK_BUFFER_BYTES { BULK_BUFFER_BYTES } else { buf.capacity() };
        loop {
            let ready = self.shared.session.borrow_mut().reader().read(buf.spare_mut());
            match ready {
                Ok(bytes) => {
                    buf.advance(bytes);
                    return (Ok(bytes), buf);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return (Err(error), buf),
            }
            let rested = buf.rest();
            let taken = self.take_in(raw_bytes).await;
            buf = rested.taken_up(|| raw_bytes);
            if let Err(error) = taken {
                return (Err(error), buf);
            }
        }
    }

    /// Nothing is left over, neither plaintext nor ciphertext.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.shared.session.borrow_mut().process_new_packets();
        self.ciphertext.is_none() && state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0)
    }

    /// Brings ciphertext into the session, from what is left over or from the socket.
    async fn take_in(&mut self, raw_bytes: usize) -> io::Result<()> {
        if self.ciphertext.is_none() {
            let (result, raw) = self.raw.read(Buf::of(raw_bytes)).await;
            if result? == 0 {
                // Tells the session that the socket ended: its reader then knows an orderly end from a cut.
                self.shared.session.borrow_mut().read_tls(&mut io::empty())?;
                if self.shared.session.borrow().is_handshaking() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                return Ok(());
            }
            self.ciphertext = Some(raw);
        }
        if let Some(mut raw) = self.ciphertext.take() {
            let mut session = self.shared.session.borrow_mut();
            let taken = session.read_tls(&mut raw.filled())?;
            raw.consume(taken);
            session.process_new_packets().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            if !raw.is_empty() {
                self.ciphertext = Some(raw);
            }
        }
        Ok(())
    }
}

impl TlsWriter {
    pub(super) fn raw(&self) -> &RawStream {
        &self.raw.0
    }

    /// Encrypts and sends.
    pub(super) async fn write(&mut self, mut plaintext: &[u8]) -> io::Result<()> {
        while let Taken::Some(bytes) = self.write_now(plaintext)? {
            plaintext = &plaintext[bytes..];
            self.send_rest().await?;
        }
        Ok(())
    }

    /// Encrypts and sends as much as the kernel takes without waiting.
    pub(super) fn write_now(&mut self, plaintext: &[u8]) -> io::Result<Taken> {
        let mut taken = 0;
        while self.send_now()? {
            if taken == plaintext.len() {
                return Ok(Taken::All);
            }
            taken += self.shared.session.borrow_mut().writer().write(&plaintext[taken..])?;
        }
        Ok(Taken::Some(taken))
    }

    /// Sends what the session has to say.
    async fn flush(&mut self) -> io::Result<()> {
        if self.send_now()? { Ok(()) } else { self.send_rest().await }
    }

    /// Sends what the session has to say, in one go and as far as the kernel takes it without waiting. True: that was all.
    fn send_now(&mut self) -> io::Result<bool> {
        {
            let mut session = self.shared.session.borrow_mut();
            while session.wants_write() {
                session.write_tls(&mut self.ciphertext)?;
            }
        }
        let unsent = &self.ciphertext[self.sent..];
        if !unsent.is_empty() {
            match send_little(&self.raw.0, unsent) {
                Some(sent) => self.sent += sent?,
                None => return Ok(false),
            }
        }
        let all = self.sent == self.ciphertext.len();
        if all {
            self.forget_sent();
        }
        Ok(all)
    }

    /// Sends what is encrypted, and waits for the kernel to take it.
    async fn send_rest(&mut self) -> io::Result<()> {
        let mut rest = std::mem::take(&mut self.ciphertext);
        rest.drain(..std::mem::take(&mut self.sent));
        let (result, rest) = self.raw.write_all(rest).await;
        self.ciphertext = rest;
        self.forget_sent();
        result.map(drop)
    }

    fn forget_sent(&mut self) {
        self.sent = 0;
        self.ciphertext.clear();
        if self.ciphertext.capacity() > KEPT_CIPHERTEXT_BYTES {
            self.ciphertext = Vec::new();
        }
    }

    /// Tells the peer that the end is meant.
    pub(super) async fn say_goodbye(&mut self) {
        self.shared.session.borrow_mut().send_close_notify();
        let _peer_gone = self.flush().await;
    }
}
