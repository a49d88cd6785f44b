//! One exchange over one connection.

use std::time::Duration;

use tokio::time::Instant;

use super::live::Live;
use super::response::Response;
use super::wire::Wire;
use super::workload::{Expect, Request};

/// How an exchange ended, if not in failure.
pub(super) enum Ended {
    /// With a whole and right answer.
    Answered { wire: Wire, response: Box<Response>, first_byte: Instant, whole: Instant },
    /// The client left on purpose; the connection is closed.
    Left { events: u64 },
    /// A bad request was refused; the connection is closed.
    Refused,
}

/// How long a gateway may think about a bad request. Its deadlines for slow clients are longer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(30);

/// What is looked at besides.
pub(super) struct Watch<'a> {
    /// Counts for others to see.
    pub(super) live: &'a Live,
    /// Events say when they were sent.
    pub(super) stamped: bool,
    /// Bodies are hashed.
    pub(super) digests: bool,
}

/// Sends `request` and reads its answer, or leaves once `leave_after` frames have come.
///
/// Failures are named by kind: `write`, `reset`, `closed_before_head`, `truncated`, `framing: …`, `status_NNN`,
/// `events: …`, `unasked bytes`. The connection is not used again after one.
pub(super) async fn exchange(
    mut wire: Wire,
    request: &Request,
    session: u64,
    buffer: &mut [u8],
    leave_after: Option<u64>,
    watch: &Watch<'_>,
) -> Result<Ended, String> {
    let sent = wire.send(&request.head_of(session), &request.body).await;
    if request.expect == Expect::Refusal {
        return refused(wire, buffer).await;
    }
    sent?;
    let mut response = Box::new(Response::new(watch.digests));
    let mut first_byte = None;
    while !response.is_done() {
        if leave_after.is_some_and(|frames| response.frames >= frames) {
            return Ok(Ended::Left { events: response.frames });
        }
        let read = wire.read(buffer).await.map_err(|_| "reset".to_owned())?;
        if read == 0 {
            match (response.closed(), response.has_head()) {
                (true, _) => break,
                (false, true) => return Err("truncated".to_owned()),
                (false, false) => return Err("closed_before_head".to_owned()),
            }
        }
        first_byte.get_or_insert_with(Instant::now);
        let (frames, payload_bytes) = (response.frames, response.payload_bytes);
        let used = response.feed(&buffer[..read]).map_err(|bad| format!("framing: {}", bad.0))?;
        if used < read {
            return Err("unasked bytes".to_owned());
        }
        watch.live.events(response.frames - frames);
        if payload_bytes == 0 && response.payload_bytes > 0 && response.status == 200 {
            watch.live.begun();
        }
        if watch.stamped {
            watch.live.stamps(&buffer[..read]);
        }
    }
    judge(&response, request)?;
    let whole = Instant::now();
    Ok(Ended::Answered { wire, response, first_byte: first_byte.unwrap_or(whole), whole })
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
async fn refused(mut wire: Wire, buffer: &mut [u8]) -> Result<Ended, String> {
    let read = match tokio::time::timeout(REFUSAL_DEADLINE, wire.read(buffer)).await {
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
