//! A connection of the generator: plain, or with TLS over it. Bytes are handled in place; a TLS connection adds what rustls
//! costs, one buffer for what arrives and one for what leaves.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;

use super::address_of;
use crate::loadtest::tls;

/// Bytes of one read from the socket under a TLS session: one record at most.
const RAW_BYTES: usize = 18 << 10;

/// Where connections go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) addr: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// The target of a URL, `http://HOST:PORT` or `https://HOST:PORT`; over TLS with this certificate, or with any.
    pub(super) fn of(url: &str, certificate: Option<&[u8]>) -> Result<Target, String> {
        let Some(rest) = url.strip_prefix("https://") else {
            return Ok(Target { addr: address_of(url)?.to_owned(), tls: None });
        };
        let plain = format!("http://{rest}");
        let addr = address_of(&plain).map_err(|_| format!("`{url}` is not of the form https://HOST:PORT"))?;
        Ok(Target { addr: addr.to_owned(), tls: Some(tls::client(certificate)?) })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects; over TLS the handshake is done when this returns.
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        let stream = TcpStream::connect(&self.addr).await?;
        stream.set_nodelay(true)?;
        let mut wire = Wire { stream, session: None };
        if let Some(config) = &self.tls {
            let name = ServerName::try_from(tls::SERVER_NAME).map_err(io::Error::other)?;
            let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            tls.set_buffer_limit(None);
            let mut session =
                Box::new(Session { tls, raw: vec![0; RAW_BYTES], start: 0, end: 0, out: Vec::with_capacity(4096) });
            while session.tls.is_handshaking() {
                session.flush(&wire.stream).await?;
                if session.tls.is_handshaking() && session.pull(&wire.stream).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            session.flush(&wire.stream).await?;
            wire.session = Some(session);
        }
        Ok(wire)
    }
}

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    session: Option<Box<Session>>,
}

struct Session {
    tls: ClientConnection,
    /// What was taken from the socket and not yet by the session: `start..end`.
    raw: Vec<u8>,
    start: usize,
    end: usize,
    /// What the session has for the socket.
    out: Vec<u8>,
}

impl Wire {
    /// Sends all of it, or as much as the peer takes before it answers early.
    pub(super) async fn send(&mut self, head: &[u8], body: &[u8]) -> Result<(), String> {
        match &mut self.session {
            None => send_plain(&self.stream, head, body).await,
            Some(session) => {
                let broken = |_| "write".to_owned();
                session.tls.writer().write_all(head).map_err(broken)?;
                session.tls.writer().write_all(body).map_err(broken)?;
                session.gather().map_err(broken)?;
                session.send(&self.stream).await
            }
        }
    }

    /// Reads what there is; 0 is the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => read_raw(&self.stream, buffer).await,
            Some(session) => session.read(&self.stream, buffer).await,
        }
    }
}

impl Session {
    /// Moves what the session has to say into `out`.
    fn gather(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.out)?;
        }
        Ok(())
    }

    async fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.gather()?;
        let mut sent = 0;
        while sent < self.out.len() {
            match stream.try_write(&self.out[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Sends `out`, unless an answer comes first.
    async fn send(&mut self, stream: &TcpStream) -> Result<(), String> {
        let out = std::mem::take(&mut self.out);
        let mut sent = 0;
        while sent < out.len() {
            match stream.try_write(&out[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What arrives meanwhile may be the session's own (tickets), or an early answer.
                    tokio::select! {
                        biased;
                        ready = stream.writable() => ready.map_err(|_| "write".to_owned())?,
                        pulled = self.pull(stream) => {
                            if pulled.map_err(|_| "reset".to_owned())? == 0 || self.has_plaintext() {
                                return Ok(());
                            }
                        }
                    }
                }
                Err(_) => return Err("write".to_owned()),
            }
        }
        self.out = out;
        self.out.clear();
        Ok(())
    }

    fn has_plaintext(&mut self) -> bool {
        self.tls.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    async fn read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without goodbye is an end; whether the answer was whole, its framing says.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.pull(stream).await?;
        }
    }

    /// Gives the session what has arrived, and waits for it if there is nothing; 0 is the end. The wait may be given up.
    async fn pull(&mut self, stream: &TcpStream) -> io::Result<usize> {
        if self.start == self.end {
            let read = read_raw(stream, &mut self.raw).await?;
            (self.start, self.end) = (0, read);
        }
        let mut rest = &self.raw[self.start..self.end];
        let taken = self.tls.read_tls(&mut rest)?;
        self.start += taken;
        self.tls.process_new_packets().map_err(io::Error::other)?;
        Ok(taken)
    }
}

/// Sends all of it, or as much as the peer takes before it answers early.
async fn send_plain(stream: &TcpStream, head: &[u8], body: &[u8]) -> Result<(), String> {
    let (mut slices, mut left) = ([IoSlice::new(head), IoSlice::new(body)], head.len() + body.len());
    let mut rest = &mut slices[..];
    while left > 0 {
        match stream.try_write_vectored(rest) {
            Ok(written) => {
                left -= written;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut early = [0; 1];
                tokio::select! {
                    biased;
                    ready = stream.writable() => ready.map_err(|_| "write".to_owned())?,
                    peeked = stream.peek(&mut early) => {
                        return peeked.map(|_| ()).map_err(|_| "reset".to_owned());
                    }
                }
            }
            Err(_) => return Err("write".to_owned()),
        }
    }
    Ok(())
}

async fn read_raw(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            result => return result,
        }
    }
}
