//! Taps on the two bodies of an exchange, for the audit: they hash what passes, and where it is to be stored copy it onto the lane to
//! the store of bodies. That copy is the only one on a request's way, and only teams with `bodies = "full"` pay for it; without
//! `hash` or `full` there is no tap at all. A tap cannot stop a body: at a full lane it gives the exchange up, and its record
//! says so.

use super::incoming::Exchange;
use crate::{
    data::shard::Shard,
    kernel::{
        ids::RequestId,
        limits::{BODY_CHUNK_BYTES, BULK_BUFFER_BYTES},
        record::{BodyMark, Kept, Record},
    },
    link::bodies::{BodyEnd, ExchangeEnd, Way},
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What is held back of an answer until the client has the first of it: what one read brings. Bytes; beyond it, it goes on.
const HELD_BYTES_MAX: usize = 2 * BULK_BUFFER_BYTES;

/// What is wanted of an exchange's bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Their hashes.
    Hashes,
    /// Them, too.
    Bodies,
    /// Them, too, but there is no room for them.
    NoRoom,
}

/// A tap on one body.
pub struct Tap {
    hash: Context,
    bytes: u64,
    ended: bool,
    store: Option<Store>,
}

/// The way of one body to its store.
struct Store {
    shard: Rc<Shard>,
    id: RequestId,
    way: Way,
    gathered: Vec<u8>,
    /// Nothing goes on the lane yet: another upstream's answer may come to be the client's.
    held: bool,
    dropped: Rc<Cell<bool>>,
}

impl Tap {
    /// The next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(store) = &mut self.store {
            store.take(bytes);
        }
    }

    /// A tap that only hashes, for others than the audit.
    pub fn of_hash() -> Self {
        Self { hash: Context::new(&SHA256), bytes: 0, ended: false, store: None }
    }

    /// SHA-256 of the body, once it is whole.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.ended.then(|| self.hash.clone().finish().as_ref().try_into().ok()).flatten()
    }

    /// The client has the first of it: this is the answer, and no other.
    pub fn release(&mut self) {
        if let Some(store) = &mut self.store {
            store.held = false;
        }
    }

    /// The body is whole.
    pub fn end(&mut self) {
        self.ended = true;
    }

    fn finish(&mut self, cut: bool) -> BodyEnd {
        if let Some(mut store) = self.store.take() {
            store.send();
        }
        let sha256 = self.hash.clone().finish().as_ref().try_into().unwrap_or_default();
        BodyEnd { bytes: self.bytes, sha256, cut }
    }
}

impl Store {
    fn take(&mut self, bytes: &[u8]) {
        if self.dropped.get() {
            return;
        }
        if self.held && self.gathered.len() + bytes.len() <= HELD_BYTES_MAX {
            self.gathered.extend_from_slice(bytes);
            return;
        }
        if self.gathered.len() + bytes.len() > BODY_CHUNK_BYTES {
            self.send();
        }
        if bytes.len() > BODY_CHUNK_BYTES {
            self.put(bytes.into());
        } else {
            self.gathered.extend_from_slice(bytes);
        }
    }

    fn send(&mut self) {
        if !self.gathered.is_empty() {
            let gathered = std::mem::take(&mut self.gathered);
            self.put(gathered.into_boxed_slice());
        }
    }

    fn put(&self, bytes: Box<[u8]>) {
        if !self.dropped.get() && !self.shard.bodies.borrow_mut().send(self.id, self.way, bytes) {
            self.dropped.set(true);
        }
    }
}

/// The taps of one exchange, and what they come to.
pub struct Capture {
    shard: Rc<Shard>,
    id: RequestId,
    wanted: Wanted,
    dropped: Rc<Cell<bool>>,
    request: Rc<RefCell<Tap>>,
    response: Option<Box<Tap>>,
}

impl Capture {
    /// Taps the request's body from its first byte on: before anything of it goes upstream, all of it is still in the pipe.
    pub fn begin(cx: &Exchange<'_>, wanted: Wanted) -> Self {
        let (shard, dropped) = (cx.shard.clone(), Rc::default());
        let request = Rc::new(RefCell::new(tap(&shard, cx.id, Way::Request, wanted, &dropped)));
        cx.pipe.tap(request.clone());
        Self { shard, id: cx.id, wanted, dropped, request, response: None }
    }

    /// The tap on the request's body.
    pub fn request_tap(&self) -> Rc<RefCell<Tap>> {
        self.request.clone()
    }

    /// A tap for an answer that may come to be the client's.
    pub fn tap_answer(&self) -> Box<Tap> {
        Box::new(tap(&self.shard, self.id, Way::Response, self.wanted, &self.dropped))
    }

    /// An exchange with an upstream is over; this passed of its answer. `told`: the client has at least its head.
    pub fn answered(&mut self, tap: Box<Tap>, told: bool) {
        if told || tap.bytes > 0 {
            self.response = Some(tap);
        }
    }

    /// The exchange is over: ends both bodies, and says in the record what is kept of them.
    pub fn close(mut self, record: &mut Record, completed: bool) {
        let mut request = self.request.borrow_mut();
        let request_cut = !request.ended;
        let request = request.finish(request_cut);
        let response = self.response.as_mut().map(|tap| {
            let cut = !completed;
            tap.finish(cut)
        });
        record.request_sha256 = Some(request.sha256);
        record.response_sha256 = response.map(|end| end.sha256);
        let response = response.unwrap_or(NO_BODY);
        let stored = self.wanted == Wanted::Bodies && {
            let end = ExchangeEnd { request, response, dropped: self.dropped.get() };
            self.shard.bodies.borrow_mut().end(self.id, end) && !end.dropped
        };
        let kept = match self.wanted {
            Wanted::Hashes => Kept::Hashed,
            _ if stored => Kept::Stored,
            _ => {
                self.shard.gauges.bodies_dropped.add(1);
                Kept::Dropped
            }
        };
        record.body = BodyMark { kept, request_cut, response_cut: response.cut };
    }
}

/// What is said of the answer's body where there was none.
const NO_BODY: BodyEnd = BodyEnd {
    bytes: 0,
    // SHA-256 of nothing.
    sha256: [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ],
    cut: false,
};

fn tap(shard: &Rc<Shard>, id: RequestId, way: Way, wanted: Wanted, dropped: &Rc<Cell<bool>>) -> Tap {
    let store = (wanted == Wanted::Bodies).then(|| Store {
        shard: shard.clone(),
        id,
        way,
        gathered: Vec::new(),
        held: way == Way::Response,
        dropped: dropped.clone(),
    });
    Tap { hash: Context::new(&SHA256), bytes: 0, ended: false, store }
}
