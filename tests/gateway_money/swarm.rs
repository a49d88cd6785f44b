//! Many callers at once on one thread, some of which leave early: a seed decides who.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::fleet::Ask;
use crate::support::DEADLINE;

/// When a caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// After the whole answer.
    AtTheEnd,
    /// As soon as the request is on its way.
    AtOnce,
    /// With half of the request's body unsent.
    InsideTheBody,
    /// After so many bytes of the answer, by a close.
    After(usize),
    /// After so many bytes of the answer, by a reset.
    ResetAfter(usize),
}

/// What a caller got.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// 0 if no head came.
    pub status: u16,
    /// The head as text.
    pub head: String,
    /// What came behind it.
    pub body: Vec<u8>,
    /// The answer was framed to its end.
    pub whole: bool,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// `error.type` of an answer that is an error.
    pub fn error_type(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends all requests at the same moment, each on a connection of its own, and returns what each got, in order.
pub fn all_at_once(clients: SocketAddr, asks: &[(Ask<'_>, Leave)]) -> Vec<Got> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let barrier = std::sync::Arc::new(Barrier::new(asks.len()));
        let callers: Vec<_> = asks
            .iter()
            .map(|(ask, leave)| {
                let (bytes, leave, barrier) = (ask.bytes(clients), *leave, barrier.clone());
                tokio::spawn(async move {
                    let mut stream = connect(clients).await;
                    barrier.wait().await;
                    tokio::time::timeout(DEADLINE, call(&mut stream, &bytes, leave)).await
                })
            })
            .collect();
        let mut all = Vec::with_capacity(callers.len());
        for caller in callers {
            let got = caller.await.expect("a caller does not panic");
            all.push(got.expect("an answer, or an end, within the deadline"));
        }
        all
    })
}

/// A full accept queue makes the kernel try again by itself; what is left are ports in use.
async fn connect(clients: SocketAddr) -> TcpStream {
    for _ in 0..100 {
        match TcpStream::connect(clients).await {
            Ok(stream) => {
                stream.set_nodelay(true).expect("TCP_NODELAY");
                return stream;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("cannot connect to {clients}: {error}"),
        }
    }
    panic!("no free port to connect from");
}

/// One request on a connection.
pub async fn call(stream: &mut TcpStream, bytes: &[u8], leave: Leave) -> Got {
    let sent = if leave == Leave::InsideTheBody { &bytes[..bytes.len() - 20] } else { bytes };
    if stream.write_all(sent).await.is_err() || matches!(leave, Leave::AtOnce | Leave::InsideTheBody) {
        return Got::default();
    }
    let enough = match leave {
        Leave::After(bytes) | Leave::ResetAfter(bytes) => bytes,
        _ => usize::MAX,
    };
    let (mut came, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    let mut got = Got::default();
    while came.len() < enough && !got.whole {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => came.extend_from_slice(&buffer[..read]),
            _ => break,
        }
        got = parse(&came);
    }
    if matches!(leave, Leave::ResetAfter(_)) && !got.whole {
        stream.set_zero_linger().expect("SO_LINGER");
    }
    got
}

fn parse(came: &[u8]) -> Got {
    let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") else { return Got::default() };
    let head = String::from_utf8_lossy(&came[..end + 2]).into_owned();
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
    let mut got = Got { status, head, body: came[end + 4..].to_vec(), whole: false };
    got.whole = match got.header("content-length") {
        Some(length) => got.body.len() >= length.parse::<usize>().expect("a length"),
        None => got.body.ends_with(b"0\r\n\r\n"),
    };
    got
}
