//! A client's connection from accept to close: one request after the other, the intake beside the walk.

use super::{
    incoming::{ClientLink, Exchange},
    intake::{self, NextBytes, Source},
    pipe::BodyPipe,
};
use crate::{
    data::{
        gate::objects::body_bytes_max,
        shard::{
            Shard,
            deadlines::{Awaited, Deadlines},
            serving::Serving,
        },
        walk,
    },
    kernel::{
        fault::{Fault, FaultKind, Room},
        identity::CertificateNames,
        limits::{BULK_BUFFER_BYTES, HEADERS_MAX, LAST_HEAD_BYTES_MAX, SMALL_BUFFER_BYTES, TARGET_BYTES_MAX},
    },
    link::down::Phase,
    sys::{
        buf::{Buf, Part},
        clock, runtime,
        sides::Sides,
        socket::{Reader, Socket, Writer},
        tls,
    },
    wire::h1::{HeadLimits, Progress, RequestHead, RequestParser},
};
use rustls::ServerConfig;
use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// How long a connection that is being closed may take to notice.
const LINGER: Duration = Duration::from_secs(2);

/// What serves a connection to its end, in a box of its own size: one future for plain and TLS would be as large as both.
pub fn serve(shard: Rc<Shard>, socket: Socket, peer: SocketAddr) -> Pin<Box<dyn Future<Output = ()>>> {
    let config = shard.serving().edge.tls.clone();
    let Some(config) = config else {
        let (reader, writer, kill) = socket.split();
        let deadlines = shard.sweeper.watch(kill);
        let mut connection = Connection::new(shard, Opened { reader, writer, deadlines, certificate: None }, peer);
        return runtime::boxed(|| async move { connection.serve().await });
    };
    runtime::boxed(|| secure(shard, socket, config, peer))
}

/// Shakes hands, and serves whoever did.
async fn secure(shard: Rc<Shard>, socket: Socket, config: Arc<ServerConfig>, peer: SocketAddr) {
    let Ok(handshaking) = tls::accept(socket, config) else { return };
    let deadlines = shard.sweeper.watch(handshaking.kill.clone());
    deadlines.arm(Awaited::Whole, shard.sweeper.in_(shard.serving().limits.head_timeout));
    let secured = match handshaking.finish().await {
        Ok(secured) => secured,
        Err(error) => {
            tracing::debug!(shard = shard.id.0, %error, "TLS handshake failed");
            return;
        }
    };
    deadlines.disarm(Awaited::Whole);
    // Read once per connection. An upstream shows one too, but there nobody looks at it.
    let certificate = secured.certificate.map(|der| Box::new(CertificateNames::of(&der)));
    let opened = Opened { reader: secured.reader, writer: secured.writer, deadlines, certificate };
    Connection::new(shard, opened, peer).serve().await;
}

/// The socket of a connection, ready to be served.
struct Opened {
    reader: Reader,
    writer: Writer,
    deadlines: Rc<Deadlines>,
    certificate: Option<Box<CertificateNames>>,
}

struct Connection {
    shard: Rc<Shard>,
    reader: Reader,
    writer: Writer,
    link: Rc<ClientLink>,
    pipe: BodyPipe,
    head: RequestHead,
    /// The head's bytes, in memory of its own size: the buffer that it came in goes with the first bytes of the body.
    bytes: Vec<u8>,
    /// The next head may follow this one.
    plain: bool,
    peer: SocketAddr,
    certificate: Option<Box<CertificateNames>>,
    /// The intake and the walk.
    sides: Rc<Sides>,
}

enum HeadRead {
    Whole(Buf),
    Bad(Buf, Box<Fault>),
    Gone,
}

impl Connection {
    fn new(shard: Rc<Shard>, opened: Opened, peer: SocketAddr) -> Self {
        let Opened { reader, writer, deadlines, certificate } = opened;
        let link = Rc::new(ClientLink::new(deadlines));
        shard.callers.watch(&link);
        let pipe = BodyPipe::new(shard.kept_bytes.clone());
        let (head, sides) = (RequestHead::default(), Rc::default());
        Self { shard, reader, writer, link, pipe, head, bytes: Vec::new(), plain: false, peer, certificate, sides }
    }

    async fn serve(&mut self) {
        let mut begun = Buf::small();
        loop {
            // A connection that waits holds no snapshot: there may be many, and each may know many keys.
            let (buf, fault) = match self.read_head(begun).await {
                HeadRead::Whole(buf) => (buf, None),
                HeadRead::Bad(buf, fault) => (buf, Some(fault)),
                HeadRead::Gone => return,
            };
            // Awaiting a head takes as long as the client likes: a key that is gone since must not open the door.
            let serving = self.shard.serving();
            let first = self.part(buf, fault.is_some());
            let next = self.exchange(first, &serving, fault).await;
            if self.bytes.capacity() > LAST_HEAD_BYTES_MAX {
                (self.bytes, self.plain) = (Vec::new(), false);
            }
            if self.link.closing.get() || self.link.gone.get() || self.link.broken.get() {
                return;
            }
            let NextBytes::Bytes(bytes) = next else { return };
            begun = bytes;
        }
    }

    async fn read_head(&mut self, mut buf: Buf) -> HeadRead {
        let (mut parser, keep_alive_timeout, head_timeout) = {
            let limits = &self.shard.serving().limits;
            let head_limits = HeadLimits {
                head_bytes_max: limits.head_bytes_max,
                target_bytes_max: TARGET_BYTES_MAX,
                headers_max: HEADERS_MAX,
            };
            (RequestParser::new(head_limits), limits.keep_alive_timeout, limits.head_timeout)
        };
        let deadlines = self.link.deadlines.clone();
        let patience = if buf.is_empty() { keep_alive_timeout } else { head_timeout };
        deadlines.arm(Awaited::Read, self.shard.sweeper.in_(patience));
        loop {
            if !buf.is_empty() {
                if std::mem::take(&mut self.plain) {
                    parser.follow(buf.filled(), &self.bytes, &mut self.head);
                }
                match parser.parse(buf.filled(), &mut self.head) {
                    Ok(Progress::Complete) => {
                        self.plain = parser.was_plain();
                        return HeadRead::Whole(buf);
                    }
                    Ok(Progress::Partial) => {}
                    Err(error) => {
                        let kind = FaultKind::BadHead(error.status());
                        return HeadRead::Bad(buf, Fault::new(Room::Edge, kind, error.reason()).closing().into());
                    }
                }
            }
            if buf.room() == 0 {
                let sizes = [SMALL_BUFFER_BYTES, BULK_BUFFER_BYTES].into_iter();
                let larger = sizes.filter(|size| *size > buf.len()).min();
                let mut grown = Buf::of(larger.unwrap_or(buf.len() + SMALL_BUFFER_BYTES));
                grown.append(buf.filled());
                buf = grown;
            }
            let first = buf.is_empty();
            let (result, back) = self.reader.read(buf).await;
            buf = back;
            match result {
                Ok(bytes) if bytes > 0 => {
                    if first {
                        deadlines.arm(Awaited::Read, self.shard.sweeper.in_(head_timeout));
                    }
                }
                _ if deadlines.passed() == Some(Awaited::Read) && !buf.is_empty() => {
                    let text = "the request head did not arrive in time";
                    return HeadRead::Bad(buf, Fault::new(Room::Edge, FaultKind::ClientTimeout, text).closing().into());
                }
                _ => return HeadRead::Gone,
            }
        }
    }

    /// Keeps the head's bytes, and returns what came behind them.
    fn part(&mut self, buf: Buf, bad: bool) -> Part {
        let bytes = buf.filled();
        let all = bytes.len();
        let head_len = if bad { all } else { self.head.head_len.min(all) };
        self.bytes.clear();
        self.bytes.reserve_exact(head_len);
        self.bytes.extend_from_slice(&bytes[..head_len]);
        Part::new(Rc::new(buf), head_len..all)
    }

    /// One request: the intake and the walk, side by side, both to their end.
    async fn exchange(&mut self, first: Part, serving: &Rc<Serving>, fault: Option<Box<Fault>>) -> NextBytes {
        let Self { shard, reader, writer, link, pipe, head, bytes, peer, certificate, sides, .. } = self;
        let bad = fault.is_some();
        if bad {
            // Nothing of it can be trusted; the walk only answers.
            *head = RequestHead::default();
        }
        pipe.reset(!bad);
        let started = clock::mono();
        link.reset(started);
        // An HTTP/1.0 client that asks to keep the connection wants that confirmed in words of its own; it may have a new one.
        let last = bad || !head.keep_alive || head.minor_version == 0;
        link.closing.set(last || shard.door.phase() != Phase::Serving || !shard.door.accepts());
        link.deadlines.arm(Awaited::Read, shard.sweeper.in_(serving.limits.body_timeout));
        let cx = Exchange {
            shard,
            serving,
            head,
            bytes,
            pipe,
            link,
            peer: peer.ip(),
            certificate: certificate.as_deref(),
            id: shard.next_request_id(started),
            started,
        };
        let source =
            Source { framing: head.body, first, bytes_max: body_bytes_max(head.path.of(bytes), &serving.limits) };
        let walked = pin!(async {
            walk::walk(&cx, writer, fault).await;
            if cx.body_is_in_the_way() {
                link.closing.set(true);
            }
            pipe.stop();
            link.walking.set(false);
            link.works_for(None);
            link.deadlines.disarm(Awaited::Write);
            if link.broken.get() {
                let kill = link.deadlines.kill();
                kill.reset();
                kill.end_reading();
            } else if link.closing.get() {
                link.deadlines.arm(Awaited::Whole, shard.sweeper.in_(LINGER));
                writer.finish().await;
            } else {
                link.deadlines.arm(Awaited::Read, shard.sweeper.in_(serving.limits.keep_alive_timeout));
            }
        });
        let (next, ()) = sides.both(pin!(intake::run(reader, source, pipe, link)), walked).await;
        next
    }
}
