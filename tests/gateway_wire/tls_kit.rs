//! Certificates, a TLS client, and a TLS front for a plain upstream.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::http::Response;

/// A CA of one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: TempDir,
}

/// A certificate with its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a CA").pem();
        let dir = TempDir::with_prefix("tls-").expect("a temporary directory");
        std::fs::write(dir.path().join("ca.pem"), &pem).expect("the CA is written");
        Authority { issuer: Issuer::new(params, key), pem, dir }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_as(name, CertificateParams::new(vec![name.to_owned()]).expect("a name"))
    }

    /// A certificate with any names; `name` is its files' alone.
    pub fn issue_as(&self, name: &str, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |kind: &str, pem: &str| {
            let path = self.dir.path().join(format!("{name}.{kind}"));
            std::fs::write(&path, pem).expect("a file is written");
            path
        };
        Identity {
            cert_file: file("crt", &cert.pem()),
            key_file: file("key", &key.serialize_pem()),
            chain: vec![cert.der().clone()],
            key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key"),
        }
    }

    /// A client that trusts this CA alone, with or without a certificate of its own.
    pub fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a CA")).expect("a root");
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let mut config = match identity {
            Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).expect("an identity"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Identity {
    fn server(&self) -> Arc<ServerConfig> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(crypto).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_no_client_auth();
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key()).expect("an identity");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// A client's connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands.
pub fn connect(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<TlsStream> {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut tls = StreamOwned::new(ClientConnection::new(config.clone(), name).expect("a session"), stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// Reads one answer with a length, with chunks, or until the end.
pub fn read_answer(stream: &mut impl Read) -> std::io::Result<Response> {
    let mut bytes = Vec::new();
    let mut more = |bytes: &mut Vec<u8>| -> std::io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let read = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    };
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(&mut bytes)? {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let pairs = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let status = text[9..12].parse().expect("a status");
    let mut answer = Response { status, headers, body: bytes.split_off(end) };
    let length = answer.header("content-length").map(|length| length.parse::<usize>().expect("a length"));
    let chunked = answer.header("transfer-encoding").is_some();
    loop {
        let whole = match length {
            Some(length) => answer.body.len() >= length,
            None => chunked && answer.body.ends_with(b"\r\n0\r\n\r\n"),
        };
        if whole || !more(&mut answer.body)? {
            break;
        }
    }
    if chunked {
        answer.body = unchunk(&answer.body);
    }
    Ok(answer)
}

fn unchunk(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = wire.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..at]).expect("a size"), 16).expect("a size");
        body.extend_from_slice(&wire[at + 2..at + 2 + size]);
        wire = &wire[at + 2 + size + 2..];
    }
    body
}

/// A TLS listener in front of a plain upstream.
pub struct TlsFront {
    pub addr: SocketAddr,
    handshakes: Arc<Handshakes>,
}

/// What has been shaken.
#[derive(Default)]
struct Handshakes {
    made: AtomicUsize,
    resumed: AtomicUsize,
}

impl TlsFront {
    /// `goodbye`: whether it says so before it closes.
    pub fn start(identity: &Identity, upstream: SocketAddr, goodbye: bool) -> TlsFront {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (config, handshakes) = (identity.server(), Arc::<Handshakes>::default());
        let counted = handshakes.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let session = ServerConnection::new(config.clone()).expect("a session");
                let (plain, counted) = (TcpStream::connect(upstream).expect("the upstream"), counted.clone());
                thread::spawn(move || relay(session, stream, plain, goodbye, &counted));
            }
        });
        TlsFront { addr, handshakes }
    }

    /// Handshakes made so far.
    pub fn handshakes(&self) -> usize {
        self.handshakes.made.load(Ordering::SeqCst)
    }

    /// Those of them that resumed an earlier session.
    pub fn resumed(&self) -> usize {
        self.handshakes.resumed.load(Ordering::SeqCst)
    }
}

/// What the session has to say, in order: the lock is held until it is sent.
fn flush(session: &mut ServerConnection, mut secure: &TcpStream) -> std::io::Result<()> {
    while session.wants_write() {
        session.write_tls(&mut secure)?;
    }
    Ok(())
}

fn relay(session: ServerConnection, secure: TcpStream, plain: TcpStream, goodbye: bool, handshakes: &Handshakes) {
    let session = Arc::new(Mutex::new(session));
    let (down_session, down_secure) = (session.clone(), secure.try_clone().expect("a socket"));
    let mut from_upstream = plain.try_clone().expect("a socket");
    let down = thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_upstream.read(&mut buffer) {
            let mut session = down_session.lock().expect("no panic while it is held");
            let sent = session.writer().write_all(&buffer[..read]);
            if sent.and_then(|()| flush(&mut session, &down_secure)).is_err() {
                break;
            }
        }
        let mut session = down_session.lock().expect("no panic while it is held");
        if goodbye {
            session.send_close_notify();
            let _gone = flush(&mut session, &down_secure);
        }
        let _gone = down_secure.shutdown(Shutdown::Write);
    });
    let mut raw = [0; 16 << 10];
    let mut handshaking = true;
    while let Ok(read @ 1..) = (&secure).read(&mut raw) {
        let mut session = session.lock().expect("no panic while it is held");
        let mut rest = &raw[..read];
        let mut plaintext = Vec::new();
        while !rest.is_empty() && session.read_tls(&mut rest).is_ok() && session.process_new_packets().is_ok() {
            let _until_it_would_block = session.reader().read_to_end(&mut plaintext);
        }
        let flushed = flush(&mut session, &secure);
        if handshaking && !session.is_handshaking() {
            handshaking = false;
            let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            handshakes.resumed.fetch_add(usize::from(resumed), Ordering::SeqCst);
            handshakes.made.fetch_add(1, Ordering::SeqCst);
        }
        drop(session);
        if flushed.is_err() || !rest.is_empty() || (&plain).write_all(&plaintext).is_err() {
            break;
        }
    }
    let _gone = plain.shutdown(Shutdown::Both);
    let _joined = down.join();
}
