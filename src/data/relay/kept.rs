//! An upstream's error answer that the client has not seen yet: it is kept, small and whole, while another target is tried, and
//! passed on if none does better: as it came, or said anew where the client speaks another format.

use super::{
    carry::{Carry, Way, Whole},
    download::error_type,
    framing::BodyFraming,
    head::{BridgedHead, ClientHead, client_head, passed_lines},
};
use crate::{
    data::{edge::incoming::Exchange, settle::OpenRecord, shard::deadlines::Awaited},
    kernel::{
        limits::{HEADERS_MAX, KEPT_ANSWER_BYTES_MAX, UPSTREAM_HEAD_BYTES_MAX},
        names::NameId,
        record::{Label, Operation, Outcome},
    },
    sys::{
        buf::Buf,
        socket::{Reader, Writer},
    },
    wire::h1::{HeadLimits, Progress, ResponseBody, ResponseHead, ResponseParser},
};

/// A whole answer, as it came.
pub struct KeptAnswer {
    bytes: Vec<u8>,
    /// Bytes of the body without its framing.
    payload_len: u64,
    status: u16,
    upstream: NameId,
    upstream_request_id: Label,
    anew: Option<Anew>,
}

/// What a client of another format reads instead.
pub struct Anew {
    /// From the upstream's format, to the client's.
    pub way: Way,
    /// What was asked.
    pub operation: Operation,
    /// What the upstream had no word for.
    pub dropped: String,
}

/// An answer as the client gets it.
struct ForClient {
    bytes: Vec<u8>,
    status: u16,
    /// Bytes of the body without its framing.
    payload_len: u64,
}

/// An answer being kept.
pub struct Keeping {
    bytes: Vec<u8>,
    framing: BodyFraming,
    payload_len: u64,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// More of it must be read.
    Partial,
    /// It is whole; true if nothing followed it.
    Whole(bool),
    /// It is too large, or not what HTTP says.
    Lost,
}

impl Keeping {
    /// Of an answer with this head; none if its end could not be told.
    pub fn new(head: &ResponseHead, framing: ResponseBody, head_bytes: &[u8]) -> Option<Self> {
        let fits = head.head_len <= KEPT_ANSWER_BYTES_MAX && framing != ResponseBody::UntilClose;
        fits.then(|| Self { bytes: head_bytes.to_vec(), framing: BodyFraming::new(framing), payload_len: 0 })
    }

    /// Takes what was read.
    fn take(&mut self, bytes: &[u8]) -> Kept {
        let mut payload_len = 0;
        let Ok(scanned) = self.framing.scan(bytes, |range| payload_len += range.len() as u64) else {
            return Kept::Lost;
        };
        self.payload_len += payload_len;
        self.bytes.extend_from_slice(&bytes[..scanned.taken]);
        match scanned.done {
            _ if self.bytes.len() > KEPT_ANSWER_BYTES_MAX => Kept::Lost,
            true => Kept::Whole(scanned.taken == bytes.len()),
            false => Kept::Partial,
        }
    }

    /// Reads to the answer's end, behind what `buf` holds of it. True if nothing followed it; none if it cannot be kept whole.
    pub async fn read_on(&mut self, reader: &mut Reader, mut buf: Buf) -> Option<bool> {
        loop {
            match self.take(buf.filled()) {
                Kept::Partial => {}
                Kept::Whole(clean) => return Some(clean),
                Kept::Lost => return None,
            }
            buf.clear_with_head_room(0);
            let (result, back) = reader.read(buf).await;
            buf = back;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                return None;
            }
        }
    }

    /// The answer, once it is whole.
    pub fn finish(self, status: u16, upstream: NameId, upstream_request_id: Label, anew: Option<Anew>) -> KeptAnswer {
        let Self { bytes, payload_len, .. } = self;
        KeptAnswer { bytes, payload_len, status, upstream, upstream_request_id, anew }
    }
}

impl KeptAnswer {
    /// Passes the answer on after all. None if the client cannot take it as it is framed.
    pub async fn show(&self, cx: &Exchange<'_>, client: &mut Writer, open: &mut OpenRecord) -> Option<Outcome> {
        if cx.body_is_in_the_way() {
            cx.link.closing.set(true);
        }
        let ForClient { bytes, status, payload_len } = self.for_client(cx, open)?;
        let deadlines = &cx.link.deadlines;
        deadlines.arm(Awaited::Write, cx.shard.sweeper.in_(cx.serving.limits.idle_timeout));
        let sent = client.write_all(Buf::copy_of(&bytes)).await.is_ok();
        deadlines.disarm(Awaited::Write);
        let record = &mut open.record;
        record.status = status;
        record.upstream = Some(self.upstream);
        record.upstream_request_id = self.upstream_request_id;
        record.request_bytes = cx.pipe.received();
        record.response_bytes = if sent { payload_len } else { 0 };
        record.model_served = record.model_requested;
        Some(if sent { Outcome::Completed } else { Outcome::ClientAborted })
    }

    fn for_client(&self, cx: &Exchange<'_>, open: &mut OpenRecord) -> Option<ForClient> {
        let limits = HeadLimits {
            head_bytes_max: UPSTREAM_HEAD_BYTES_MAX,
            target_bytes_max: UPSTREAM_HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
        };
        let mut head = ResponseHead::default();
        let parsed = ResponseParser::new(limits).parse(&self.bytes, &mut head);
        if !matches!(parsed, Ok(Progress::Complete)) {
            return None;
        }
        let framing = head.body(cx.head.method);
        if framing == ResponseBody::Chunked && cx.head.minor_version == 0 && self.anew.is_none() {
            return None;
        }
        let body = self.bytes.get(head.head_len..)?;
        if let Some(mut tap) = open.tap_answer() {
            // It was found whole when it was kept.
            let _whole = BodyFraming::new(framing).scan(body, |range| tap.feed(&body[range]));
            open.answered(Some(tap), true);
        }
        let close = cx.link.closing.get();
        let how = ClientHead { id: cx.id, limits: None, close, unchunk: false, framing, bridged: None, dropped: "" };
        if let Some(anew) = &self.anew {
            return self.said_anew(anew, &head, body, how);
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() + 256);
        client_head(&mut bytes, &head, &self.bytes, &how);
        bytes.extend_from_slice(body);
        Some(ForClient { bytes, status: self.status, payload_len: self.payload_len })
    }

    fn said_anew(&self, anew: &Anew, head: &ResponseHead, body: &[u8], how: ClientHead<'_>) -> Option<ForClient> {
        let mut whole = Whole { error_type: error_type(head, &self.bytes).to_vec(), ..Whole::default() };
        let payload = |range| whole.body.extend_from_slice(body.get(range).unwrap_or_default());
        // It was found whole when it was kept.
        let _whole = BodyFraming::new(how.framing).scan(body, payload);
        let said = whole.said(anew.way, anew.operation, self.status, how.id)?;
        let carry = Carry::Whole(Box::default());
        let how =
            ClientHead { bridged: Some(BridgedHead { way: anew.way, carry: &carry, dropped: &anew.dropped }), ..how };
        passed_lines(&mut whole.lines, head, &self.bytes, &how);
        let bytes = whole.rendered(&said, how.id, how.close);
        Some(ForClient { bytes, status: said.status, payload_len: said.body.len() as u64 })
    }

    /// The answer's status.
    pub fn status(&self) -> u16 {
        self.status
    }
}
