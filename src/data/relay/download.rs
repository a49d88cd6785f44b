//! The answer's way down: the head rewritten in place in front of its body, then the body in the buffers it came in.

use super::{
    Flags,
    attempt::Ended,
    carry::{Carry, Way},
    credential::Shows,
    framing::BodyFraming,
    head::{BridgedHead, ClientHead, client_head, passed_lines},
    interim,
    kept::{Anew, Keeping, KeptAnswer},
    meter::{Look, Meter},
    objects::Objects,
    repair::Looks,
};
use crate::{
    data::{
        edge::{
            incoming::{Exchange, Work},
            pipe::wanted,
            tap::Tap,
        },
        gate::{Caller, Identified},
        pool::Second,
        shard::deadlines::{Awaited, Deadlines},
    },
    dialect::{
        anthropic::{
            limits::UsageLimits,
            usage::{Compared, HeadCounts},
        },
        aws::refusal,
        retry_after,
    },
    kernel::{
        limits::{
            BULK_BUFFER_BYTES, HEAD_ROOM_BYTES, HEADERS_MAX, INTERIM_ANSWERS_MAX, KEPT_ANSWER_WAIT,
            UPSTREAM_HEAD_BYTES_MAX,
        },
        names::NameId,
        objects::OBJECTS_PER_ANSWER_MAX,
        record::{Format, Label, Operation, inline},
        routing::Failure,
        snapshot::{OnAbort, Upstream},
        time::MonoUs,
    },
    sys::{
        buf::Buf,
        clock,
        socket::{Reader, Writer},
    },
    wire::h1::{HeadLimits, Header, Known, Progress, ResponseBody, ResponseHead, ResponseParser, header},
};
use arrayvec::ArrayVec;
use std::rc::Rc;

/// Whom a download works for, and who decides on its way.
pub struct Attending<'a> {
    /// Who asked, and what for.
    pub identified: &'a Identified<'a>,
    /// The credential that was shown.
    pub shows: &'a Shows<'a>,
    /// Whether another target gets its chance.
    pub second: &'a Second<'a>,
}

/// One download. What it learns stays readable after it has run.
pub struct Download<'a> {
    pub(super) cx: &'a Exchange<'a>,
    pub(super) caller: &'a Caller<'a>,
    /// The format of the client's path.
    pub(super) format: Format,
    pub(super) operation: Operation,
    /// The format of the upstream, where it is another, and what it had no word for.
    pub bridged: Option<(Format, &'a str)>,
    /// What was left out for an upstream of the client's own format.
    pub dropped: &'a str,
    /// Where refusals are looked at.
    pub looks: Option<Looks<'a>>,
    pub(super) deadlines: &'a Rc<Deadlines>,
    flags: &'a Flags,
    shows: &'a Shows<'a>,
    pub(super) second: &'a Second<'a>,
    pub(super) upstream: NameId,
    /// An informational answer has gone to the client.
    spoke: bool,
    /// The error answer that the client has not seen.
    pub kept: Option<Box<KeptAnswer>>,
    /// The answer is worth reading even if nobody takes it any more.
    pub drains: bool,
    /// What becomes of a stream whose client goes away.
    on_abort: OnAbort,
    /// Status of the upstream's answer; 0 before it.
    pub status: u16,
    /// The status that the client reads: the upstream's, unless the answer was said anew.
    pub told: u16,
    /// The upstream has said something, be it half a head: it has the request.
    pub heard: bool,
    /// A byte of the answer has gone to the client.
    pub head_sent: bool,
    /// Bytes of the answer's body that have gone to the client.
    pub client_bytes: u64,
    /// When the first of them went.
    pub first_byte_at: Option<MonoUs>,
    /// The provider's own id for the request.
    pub upstream_request_id: Label,
    /// What was read off.
    pub meter: Meter,
    /// The audit's, where it wants to know the answer.
    pub tap: Option<Box<Tap>>,
    /// Containers and messages of threads that the answer has shown.
    pub(super) stuck: Option<Box<ArrayVec<Label, OBJECTS_PER_ANSWER_MAX>>>,
    /// Where the answer is about batches or files.
    pub objects: Option<Box<Objects<'a>>>,
}

/// The body still to come, with what came behind the head.
pub(super) struct Body {
    pub(super) framing: BodyFraming,
    pub(super) unchunk: bool,
    pub(super) keep_alive: bool,
    pub(super) carry: Carry,
    pub(super) way: Way,
}

/// An answer that the client gets: its own head, the body still to come, and what has come of that.
struct Begun {
    head: Vec<u8>,
    body: Body,
    buf: Buf,
}

/// The client takes no more.
pub(super) struct Left;

impl<'a> Download<'a> {
    /// A download about to begin.
    pub fn new(
        cx: &'a Exchange<'a>,
        on: Attending<'a>,
        deadlines: &'a Rc<Deadlines>,
        flags: &'a Flags,
        upstream: &Upstream,
    ) -> Self {
        let Attending { identified, shows, second } = on;
        Self {
            cx,
            caller: &identified.caller,
            format: identified.incoming.route.format,
            operation: identified.incoming.route.operation,
            bridged: None,
            dropped: "",
            looks: None,
            deadlines,
            flags,
            shows,
            second,
            upstream: upstream.name_id,
            spoke: false,
            kept: None,
            drains: false,
            on_abort: upstream.on_abort,
            status: 0,
            told: 0,
            heard: false,
            head_sent: false,
            client_bytes: 0,
            first_byte_at: None,
            upstream_request_id: Label::default(),
            meter: Meter::new(identified.incoming.route.operation == Operation::Messages),
            tap: None,
            stuck: None,
            objects: None,
        }
    }

    /// Relays the answer.
    pub async fn run(&mut self, reader: &mut Reader, client: &mut Writer) -> Ended {
        let mut ended = self.relay(reader, client).await;
        self.cx.link.deadlines.disarm(Awaited::Write);
        if self.meter.gave_up() {
            self.cx.shard.gauges.meters_gave_up.add(1);
        }
        if self.meter.compared() == Compared::Different {
            self.cx.shard.gauges.counts_differed.add(1);
            tracing::warn!(request = %self.cx.id, "Bedrock's own counts differ from the usage in its answer, which is booked");
        }
        self.flags.over.set(true);
        self.cx.pipe.wake();
        if !self.flags.uploaded.get() {
            // The upload may be stuck in a write that nobody reads: end it.
            self.deadlines.kill().end();
            if let Ended::Whole { reusable } | Ended::Hidden { reusable, .. } | Ended::Refused { reusable } = &mut ended
            {
                *reusable = false;
            }
        }
        ended
    }

    async fn relay(&mut self, reader: &mut Reader, client: &mut Writer) -> Ended {
        // The head stays behind in a future that is over: a stream may last for long, and nobody asks for it any more.
        let Begun { head, body, buf } = match self.begin(reader, client).await {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        let streams = self.meter.is_stream();
        if streams {
            self.cx.shard.gauges.streams.add(1);
            self.may_drain();
        }
        let ended = match body.carry {
            Carry::AsIs => self.body(reader, client, body, buf, head).await,
            _ => Box::pin(self.convert(reader, client, body, buf, head)).await,
        };
        if streams {
            self.cx.shard.gauges.streams.sub(1);
        }
        ended
    }

    /// Reads the head, and decides what becomes of the answer: whether the client gets it, and how.
    async fn begin(&mut self, reader: &mut Reader, client: &mut Writer) -> Result<Begun, Ended> {
        let mut head = self.cx.shard.spares.heads.borrow_mut().take().unwrap_or_default();
        let Some(mut buf) = self.read_head(reader, client, &mut head).await else { return Err(Ended::NoAnswer) };
        self.flags.begun.set(true);
        self.deadlines.disarm(Awaited::Read);
        (self.status, self.told) = (head.status, head.status);
        let refused = self.shows.is_refused(&head, buf.filled());
        let failure = failure_said(&head, buf.filled());
        if !refused || !self.shows.is_outdated(self.cx) {
            let named = header(buf.filled(), &head.headers, Known::RetryAfter);
            let wait = named.and_then(|value| retry_after::wait(value, clock::unix()));
            self.second.heard(head.status, failure, wait);
        }
        if refused {
            return Err(Ended::Credential);
        }
        if let Some(failure) = failure
            && !self.spoke
            && self.second.hides(failure)
        {
            let reusable = Box::pin(self.keep(reader, &head, buf)).await;
            return Err(Ended::Hidden { failure, reusable });
        }
        if self.looks.is_some() && head.status == 400 {
            let (back, again) = Box::pin(self.refused_by_name(reader, &head, buf)).await;
            buf = back;
            if let Some(reusable) = again {
                return Err(Ended::Refused { reusable });
            }
        }
        self.cx.pipe.keep_no_longer();
        let (lines, body) = self.prepare(&head, buf.filled());
        buf.consume(head.head_len);
        self.cx.shard.spares.heads.borrow_mut().put(head);
        Ok(Begun { head: lines, body, buf })
    }

    /// Has the client been told anything, be it informational?
    pub fn spoke(&self) -> bool {
        self.spoke
    }

    /// Reads an error answer to its end, if it is small and comes soon. True if the connection may be used again.
    async fn keep(&mut self, reader: &mut Reader, head: &ResponseHead, mut buf: Buf) -> bool {
        let framing = head.body(self.cx.head.method);
        self.upstream_request_id = upstream_request_id(head, buf.filled());
        let Some(mut keeping) = Keeping::new(head, framing, &buf.filled()[..head.head_len]) else { return false };
        buf.consume(head.head_len);
        self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(KEPT_ANSWER_WAIT));
        let Some(clean) = keeping.read_on(reader, buf).await else { return false };
        self.deadlines.disarm(Awaited::Read);
        let anew = self.bridged.map(|(from, dropped)| Anew {
            way: Way { from, to: self.format },
            operation: self.operation,
            dropped: dropped.to_owned(),
        });
        self.kept = Some(Box::new(keeping.finish(head.status, self.upstream, self.upstream_request_id, anew)));
        clean && head.keep_alive
    }

    /// From here on the client's leaving need not end the upstream's answer, if its operator wants the last counts. What has
    /// not begun to answer is cancelled all the same: nothing of it has been billed that could be learnt.
    fn may_drain(&mut self) {
        if let OnAbort::Drain(most) = self.on_abort
            && self.meter.counts()
            && (200..300).contains(&self.status)
            && !self.cx.link.gone.get()
        {
            self.drains = true;
            self.cx.link.works_for(Some(Work::Drain(self.deadlines.clone(), most)));
        }
    }

    /// Nobody takes the answer any more, and it is read for its counts alone.
    pub(super) fn draining(&self) -> bool {
        self.drains && self.cx.link.gone.get()
    }

    /// Reads to the end of the final head. Informational ones before it go on to the client.
    async fn read_head(&mut self, reader: &mut Reader, client: &mut Writer, head: &mut ResponseHead) -> Option<Buf> {
        let limits = HeadLimits {
            head_bytes_max: UPSTREAM_HEAD_BYTES_MAX,
            target_bytes_max: UPSTREAM_HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
        };
        let mut parser = ResponseParser::new(limits);
        let mut buf = Buf::small();
        buf.clear_with_head_room(HEAD_ROOM_BYTES);
        let mut interim_answers = 0;
        loop {
            if !buf.is_empty() {
                match parser.parse(buf.filled(), head) {
                    Ok(Progress::Complete) if (100..200).contains(&head.status) => {
                        interim_answers += 1;
                        if head.status == 101 || interim_answers > INTERIM_ANSWERS_MAX {
                            return None;
                        }
                        if interim::goes_on(head, self.cx.head.minor_version) {
                            let how = self.plain_head(ResponseBody::None);
                            let mut bytes = Vec::new();
                            client_head(&mut bytes, head, buf.filled(), &how);
                            self.spoke = true;
                            if !Box::pin(interim::say(self.cx, client, &bytes)).await {
                                self.cx.link.leave();
                                return None;
                            }
                        }
                        buf.consume(head.head_len);
                        parser.reset();
                        continue;
                    }
                    Ok(Progress::Complete) => return Some(buf),
                    Ok(Progress::Partial) => {}
                    Err(error) => {
                        tracing::warn!(request = %self.cx.id, reason = error.reason(), "the upstream's answer is not HTTP");
                        return None;
                    }
                }
            }
            if buf.room() == 0 {
                let mut grown = Buf::of(BULK_BUFFER_BYTES + HEAD_ROOM_BYTES);
                grown.clear_with_head_room(HEAD_ROOM_BYTES);
                if grown.append(buf.filled()) < buf.len() || grown.room() == 0 {
                    return None;
                }
                buf = grown;
            }
            let (result, back) = reader.read(buf).await;
            buf = back;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                return None;
            }
            self.heard = true;
        }
    }

    fn plain_head(&self, framing: ResponseBody) -> ClientHead<'static> {
        ClientHead { id: self.cx.id, limits: None, close: false, unchunk: false, framing, bridged: None, dropped: "" }
    }

    /// Decides how the answer goes on, and builds the client's head.
    fn prepare(&mut self, head: &ResponseHead, bytes: &[u8]) -> (Vec<u8>, Body) {
        let find = |known| header(bytes, &head.headers, known);
        let billable = self.meter.counts();
        let encoded = find(Known::ContentEncoding).is_some_and(|e| !e.eq_ignore_ascii_case(b"identity"));
        if self.cx.pipe.scanner().value(wanted::THREAD).is_some() {
            self.meter.expect_thread();
        }
        let content_type = find(Known::ContentType).unwrap_or_default();
        let look = Look { billable, status: head.status, content_type, encoded };
        self.meter.fit(look, &mut self.cx.shard.spares.scanners.borrow_mut());
        self.upstream_request_id = upstream_request_id(head, bytes);
        let from = self.bridged.map_or(self.format, |(format, _)| format);
        if from == Format::Bedrock && billable && !self.meter.is_stream() {
            self.meter.told_by_head(head_counts(head, bytes));
        }
        if let Some(objects) = &mut self.objects {
            objects.begins(head.status, encoded);
        }
        let framing = head.body(self.cx.head.method);
        let mut carry = self.carry(head, encoded);
        let way = Way { from, to: self.format };
        let converted = !matches!(carry, Carry::AsIs);
        let unchunk = (framing == ResponseBody::Chunked || converted) && self.cx.head.minor_version == 0;
        let until_close = framing == ResponseBody::UntilClose && !converted;
        if unchunk || until_close || self.cx.body_is_in_the_way() {
            self.cx.link.closing.set(true);
        }
        let limits = if billable && (200..300).contains(&head.status) { self.usage_limits() } else { None };
        let how = ClientHead {
            limits,
            close: self.cx.link.closing.get(),
            unchunk,
            bridged: self.bridged.map(|(_, dropped)| BridgedHead { way, carry: &carry, dropped }),
            dropped: self.dropped,
            ..self.plain_head(framing)
        };
        let mut lines = self.cx.shard.spares.lines.borrow_mut().list();
        if matches!(carry, Carry::Whole(_)) {
            passed_lines(&mut lines, head, bytes, &how);
        } else {
            client_head(&mut lines, head, bytes, &how);
        }
        if let Carry::Whole(whole) = &mut carry {
            whole.lines = std::mem::take(&mut lines);
            whole.error_type = error_type(head, bytes).to_vec();
        }
        let body = Body { framing: BodyFraming::new(framing), unchunk, keep_alive: head.keep_alive, carry, way };
        (lines, body)
    }

    /// How the answer is carried to a client of another format.
    fn carry(&self, head: &ResponseHead, encoded: bool) -> Carry {
        if let Some(objects) = &self.objects {
            return objects.carry(head.status, encoded);
        }
        let Some((from, _)) = self.bridged else { return Carry::AsIs };
        let whole = || Carry::Whole(Box::default());
        match (from, self.format) {
            _ if encoded || head.status >= 300 || self.operation == Operation::CountTokens => whole(),
            _ if !self.meter.is_stream() => Carry::AsIs,
            (Format::Bedrock, _) => Carry::Frames(Box::default()),
            (_, Format::Bedrock) => Carry::Events(Box::default()),
            _ => Carry::AsIs,
        }
    }

    /// What the usage-limit headers say: of the caller's fullest budget, as of the last tick.
    fn usage_limits(&self) -> Option<UsageLimits> {
        let now = self.cx.shard.sweeper.unix().seconds();
        let mut leases = self.cx.shard.leases.borrow_mut();
        let accounts = self.caller.budgets(self.cx.serving).filter_map(|b| b.account_at(now));
        let (used, account) =
            accounts.map(|account| (leases.utilization(account), account)).max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(UsageLimits { used, resets_at: account.window.resets_at() })
    }

    /// Sends the client what a buffer holds; the buffer stays, for its memory.
    pub(super) async fn write(&mut self, client: &mut Writer, buf: &mut Buf) -> Result<(), Left> {
        let link = &self.cx.link;
        link.deadlines.arm(Awaited::Write, self.cx.shard.sweeper.in_(self.cx.serving.limits.idle_timeout));
        while !buf.is_empty() {
            let (result, left) = client.write(std::mem::take(buf)).await;
            *buf = left;
            if result.is_err() {
                link.deadlines.disarm(Awaited::Write);
                link.leave();
                return Err(Left);
            }
        }
        link.deadlines.disarm(Awaited::Write);
        if !self.head_sent {
            self.head_sent = true;
            self.first_byte_at = Some(clock::mono());
        }
        Ok(())
    }
}

/// The provider's own id for a request.
fn upstream_request_id(head: &ResponseHead, bytes: &[u8]) -> Label {
    let find = |known| header(bytes, &head.headers, known);
    find(Known::RequestId).or_else(|| find(Known::XAmznRequestId)).map(inline).unwrap_or_default()
}

/// The name that AWS gives an error, where it does.
pub(super) fn error_type<'b>(head: &ResponseHead, bytes: &'b [u8]) -> &'b [u8] {
    let named = |h: &&Header| h.name.of(bytes).eq_ignore_ascii_case(b"x-amzn-errortype");
    head.headers.iter().find(named).map(|h| h.value.of(bytes)).unwrap_or_default()
}

/// Does an answer call for another target? Most say so by their status; AWS says some of it by the name of a 4xx.
fn failure_said(head: &ResponseHead, bytes: &[u8]) -> Option<Failure> {
    let named = || (400..500).contains(&head.status).then(|| refusal::failure(error_type(head, bytes))).flatten();
    Failure::of_status(head.status).or_else(named)
}

/// What Bedrock counted, by the head of its answer.
fn head_counts(head: &ResponseHead, bytes: &[u8]) -> HeadCounts {
    let mut counts = HeadCounts::default();
    for header in head.headers.iter().filter(|header| header.known == Known::XAmznAny) {
        counts.take(header.name.of(bytes), header.value.of(bytes));
    }
    counts
}
