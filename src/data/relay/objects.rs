//! Answers about batches and files: what they teach, what of them is the caller's, and what is booked for them. Descriptions
//! are read whole, since an id must be learnt and an address changed; results and contents pass through like any answer.

use super::{
    carry::{Carry, Whole},
    download::Download,
};
use crate::{
    data::{
        edge::incoming::{Exchange, Work},
        gate::{Routed, batches, objects::Sought},
        settle::{Metered, OpenRecord},
    },
    dialect::{
        anthropic::{
            objects::{NotAnObject, edited, page, seen},
            results::ResultsTally,
        },
        bridge::Said,
    },
    kernel::{
        ids::PrincipalId,
        limits::{MADE_ANSWER_WAIT, OBJECT_ANSWER_BYTES_MAX},
        money::Nanos,
        names::NameId,
        objects::{ObjectNote, Owned, shares},
        pricing::{PriceBook, Rates},
        record::{ObjectEvent, Operation, inline},
        snapshot::Upstream,
        time::UnixMs,
        usage::UsageSource,
    },
    wire::h1::Known,
};

/// What is done with an answer about batches or files.
pub struct Objects<'a> {
    cx: &'a Exchange<'a>,
    sought: &'a Sought,
    operation: Operation,
    prefix: usize,
    principal: PrincipalId,
    upstream: NameId,
    upstream_name: &'a str,
    /// What budgets hold for it.
    held: Nanos,
    note: Option<Box<ObjectNote>>,
    results: Option<Box<ResultsTally>>,
    whole: bool,
}

/// An answer that was read.
pub struct Read {
    /// For the client.
    pub said: Said,
    /// Objects on it, of a list that begins at its beginning.
    pub shown: Option<usize>,
}

impl<'a> Objects<'a> {
    /// Of the answer to a request.
    pub fn new(
        cx: &'a Exchange<'a>,
        routed: &'a Routed<'_>,
        sought: &'a Sought,
        upstream: &'a Upstream,
        held: Nanos,
    ) -> Box<Self> {
        let route = &routed.identified.incoming.route;
        Box::new(Self {
            cx,
            sought,
            operation: route.operation,
            prefix: route.path.start,
            principal: routed.identified.caller.principal,
            upstream: upstream.name_id,
            upstream_name: &upstream.name,
            held,
            note: None,
            results: None,
            whole: false,
        })
    }

    /// The head of the answer is there.
    pub fn begins(&mut self, status: u16, encoded: bool) {
        if !(200..300).contains(&status) {
            return;
        }
        if self.operation == Operation::BatchResults && !encoded {
            self.results = Some(Box::default());
        }
        if self.operation.removes() {
            self.note = Some(ObjectNote::one(inline(self.sought.id.as_bytes()), ObjectEvent::Gone));
        } else if self.operation.names_object() && self.sought.owned.is_none() {
            // Nobody here has seen it being made, and there it is.
            self.learn(&self.sought.id);
        }
    }

    /// How the answer is carried.
    pub fn carry(&self, status: u16, encoded: bool) -> Carry {
        if self.operation.reads_answer() && (200..300).contains(&status) && !encoded {
            return Carry::Whole(Box::new(Whole::of(OBJECT_ANSWER_BYTES_MAX, true)));
        }
        Carry::AsIs
    }

    fn learn(&mut self, id: &str) {
        let held = if self.operation == Operation::BatchCreate { self.held } else { Nanos::ZERO };
        let made_at = UnixMs((self.cx.id.0 >> 80) as u64);
        let (principal, upstream) = (self.principal, self.upstream);
        let (on_disk, claimed, settled) = (false, false, false);
        let owned = Owned { upstream, principal, made_at, held, sticky: false, on_disk, claimed, settled };
        self.cx.serving.registry.objects.learn(id, owned);
        self.note = Some(ObjectNote::one(inline(id.as_bytes()), ObjectEvent::Made));
    }

    /// Looks at payload of an answer that passes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(results) = &mut self.results {
            results.feed(bytes, quote(&self.cx.serving.prices, self.upstream_name));
        }
    }

    /// The answer is whole.
    pub fn finish(&mut self) {
        self.whole = true;
        if let Some(results) = &mut self.results {
            results.finish(quote(&self.cx.serving.prices, self.upstream_name));
        }
    }

    /// What the client reads of an answer that was read whole, and what that teaches.
    pub fn said(&mut self, whole: &Whole, status: u16) -> Result<Read, NotAnObject> {
        let base = self.base();
        let said = |body| Said { status, body, lines: String::new() };
        if let Some(asked) = &self.sought.paging {
            let registry = &self.cx.serving.registry;
            let caller = registry.names.principal_of(self.principal);
            let mine = |id: &str| {
                let owned = registry.objects.find(id);
                owned.is_some_and(|owned| shares(&registry.names.principal_of(owned.principal), &caller))
            };
            let page = page(&whole.body, asked, &base, mine)?;
            let shown = asked.cursor.is_none().then_some(page.shown);
            return Ok(Read { said: said(page.body), shown });
        }
        let told = seen(&whole.body, &base)?;
        if self.operation.makes() {
            self.learn(&told.id);
        }
        Ok(Read { said: said(edited(&whole.body, &told.edits)), shown: None })
    }

    /// A list that has nothing of the caller's: another account may have.
    pub fn looks_on(&self, read: &Read) -> bool {
        read.shown == Some(0)
    }

    /// Under which address the client reaches us.
    fn base(&self) -> String {
        let cx = self.cx;
        let proto = cx.head.headers.iter().find(|h| h.name.of(cx.bytes).eq_ignore_ascii_case(b"x-forwarded-proto"));
        let trusted = cx.serving.edge.trusted_proxies.iter().any(|net| net.contains(&cx.peer));
        let secure = match proto.filter(|_| trusted).map(|h| h.value.of(cx.bytes)) {
            Some(proto) => proto.eq_ignore_ascii_case(b"https"),
            None => cx.serving.edge.tls.is_some(),
        };
        let host = String::from_utf8_lossy(cx.header(Known::Host).unwrap_or(b"localhost"));
        let prefix = String::from_utf8_lossy(cx.path().get(..self.prefix).unwrap_or_default());
        format!("{}://{host}{prefix}", if secure { "https" } else { "http" })
    }

    /// Leaves what was learnt with the request's record.
    pub fn hand_over(&mut self, open: &mut OpenRecord, status: u16) {
        open.record.objects = self.note.take();
        if let Some(results) = self.results.take().filter(|_| self.whole && status == 200) {
            open.record.model_served = results.model().map_or(open.record.model_requested, |m| inline(m.as_bytes()));
            if results.is_odd() {
                // What was held stays booked.
                self.cx.shard.gauges.meters_gave_up.add(1);
                tracing::warn!(request = %self.cx.id, batch = self.sought.id, "a line of a batch's results cannot be read; the batch stays booked as it was admitted");
            } else if let Some(before) = self.cx.serving.registry.objects.claim(&self.sought.id) {
                let id = inline(self.sought.id.as_bytes());
                let mut note = ObjectNote::one(id, ObjectEvent::Settled);
                note.booked = Some((before.principal, before.made_at));
                open.record.objects = Some(note);
                open.record.reserved = before.held;
                batches::touch_again(self.cx, &before, open);
                open.results = Some(results);
            }
        }
    }
}

/// An answer has shown a container or a message of a thread: what goes on with it belongs to this account. Known before the client
/// reads it, since it may go on at once.
pub(super) fn stick(down: &mut Download<'_>) {
    let ids = down.meter.sticky();
    if ids.len() <= down.stuck.as_ref().map_or(0, |stuck| stuck.len()) || !(200..300).contains(&down.status) {
        return;
    }
    let (principal, upstream) = (down.caller.principal, down.upstream);
    let made_at = UnixMs((down.cx.id.0 >> 80) as u64);
    let (held, on_disk, claimed, settled) = (Nanos::ZERO, false, false, false);
    for id in &ids {
        let owned = Owned { upstream, principal, made_at, held, sticky: true, on_disk, claimed, settled };
        down.cx.serving.registry.objects.learn(id, owned);
    }
    down.stuck = Some(Box::new(ids));
}

/// Leaves that with the record.
pub(super) fn note_stuck(down: &mut Download<'_>, open: &mut OpenRecord) {
    if let Some(ids) = down.stuck.take() {
        let ids = *ids;
        open.record.objects = Some(Box::new(ObjectNote { ids, event: ObjectEvent::Made, booked: None }));
    }
}

fn quote<'p>(book: &'p PriceBook, upstream: &'p str) -> impl Fn(&str) -> Rates + use<'p> {
    move |model| book.rates(upstream, model, model)
}

/// Looks after an answer, if it is about batches or files. Where something is made the answer is awaited even if the client
/// leaves, for a while, since nobody else would ever learn what was made.
pub(super) fn attend<'a>(
    cx: &'a Exchange<'a>,
    routed: &'a Routed<'_>,
    upstream: &'a Upstream,
    held: Nanos,
    down: &mut Download<'a>,
) {
    let Some(sought) = &routed.sought else { return };
    down.objects = Some(Objects::new(cx, routed, sought, upstream, held));
    if routed.identified.incoming.route.operation.makes() && !cx.link.gone.get() {
        cx.link.works_for(Some(Work::Drain(down.deadlines.clone(), MADE_ANSWER_WAIT)));
        down.drains = true;
    }
}

/// What a request about batches or files is booked with: a batch that was made with its bound, its results with what they
/// say instead; nothing else costs anything.
pub fn booked(cx: &Exchange<'_>, open: &mut OpenRecord) -> Metered {
    if let Some(results) = open.results.take() {
        let (cost, held) = (results.cost(), open.record.reserved);
        tracing::debug!(request = %cx.id, %cost, %held, "a batch is settled");
        return Metered { usage: results.usage(), source: UsageSource::Reported, cost: Some(cost.minus(held)) };
    }
    let event = open.record.objects.as_ref().map(|note| note.event);
    if open.record.operation == Operation::BatchCreate && event == Some(ObjectEvent::Made) {
        return batches::until_results(open);
    }
    Metered::default()
}
