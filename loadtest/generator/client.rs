//! One exchange over one connection.

use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::response::Response;
use super::workload::{Expect, Request};

/// How an exchange ended, if not in failure.
pub(super) enum Ended {
    /// With a whole and right answer.
    Answered { stream: TcpStream, response: Box<Response>, first_byte: Instant, whole: Instant },
    /// The client left on purpose; the connection is closed.
    Left { events: u64 },
    /// A bad request was refused; the connection is closed.
    Refused,
}

/// How long a gateway may think about a bad request. Its deadlines for slow clients are longer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(30);

/// Sends `request` and reads its answer, or leaves once `leave_after` frames have come.
///
/// Failures are named by kind: `write`, `reset`, `closed_before_head`, `truncated`, `framing: …`, `status_NNN`,
/// `events: …`, `unasked bytes`. The connection is not used again after one.
pub(super) async fn exchange(
    stream: TcpStream,
    request: &Request,
    session: u64,
    buffer: &mut [u8],
    leave_after: Option<u64>,
    digests: bool,
) -> Result<Ended, String> {
    let sent = send(&stream, &request.head_of(session), &request.body).await;
    if request.expect == Expect::Refusal {
        return refused(&stream, buffer).await;
    }
    sent?;
    let mut response = Box::new(Response::new(digests));
    let mut first_byte = None;
    while !response.is_done() {
        if leave_after.is_some_and(|frames| response.frames >= frames) {
            return Ok(Ended::Left { events: response.frames });
        }
        let read = read(&stream, buffer).await.map_err(|_| "reset".to_owned())?;
        if read == 0 {
            match (response.closed(), response.has_head()) {
                (true, _) => break,
                (false, true) => return Err("truncated".to_owned()),
                (false, false) => return Err("closed_before_head".to_owned()),
            }
        }
        first_byte.get_or_insert_with(Instant::now);
        let used = response.feed(&buffer[..read]).map_err(|bad| format!("framing: {}", bad.0))?;
        if used < read {
            return Err("unasked bytes".to_owned());
        }
    }
    judge(&response, request)?;
    let whole = Instant::now();
    Ok(Ended::Answered { stream, response, first_byte: first_byte.unwrap_or(whole), whole })
}

fn judge(response: &Response, request: &Request) -> Result<(), String> {
    if response.status != 200 {
        return Err(format!("status_{}", response.status));
    }
    match request.expect {
        // A gateway may add pings of its own, but may not lose a frame.
        Expect::Frames(frames) if response.frames < frames => Err("events: frames are missing".to_owned()),
        Expect::Frames(_) if !response.ends_with_stop() => Err("events: no message_stop at the end".to_owned()),
        _ => Ok(()),
    }
}

/// A bad request is to be told so, or to end with its connection; never to be served.
async fn refused(stream: &TcpStream, buffer: &mut [u8]) -> Result<Ended, String> {
    let read = match tokio::time::timeout(REFUSAL_DEADLINE, read(stream, buffer)).await {
        Ok(read) => read.unwrap_or(0),
        Err(_) => return Err("hostile: neither refused nor closed".to_owned()),
    };
    match buffer.get(..read).unwrap_or_default() {
        [] => Ok(Ended::Refused),
        answer if answer.starts_with(b"HTTP/1.1 4") => Ok(Ended::Refused),
        answer => {
            let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            Err(format!("hostile: served with {}", String::from_utf8_lossy(line)))
        }
    }
}

/// Sends all of it, or as much as the peer takes before it answers early.
async fn send(stream: &TcpStream, head: &[u8], body: &[u8]) -> Result<(), String> {
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

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            result => return result,
        }
    }
}
