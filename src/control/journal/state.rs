//! What replay knows at a group's end besides what its visitor keeps: from there it can go on without what is before.

use super::{
    JournalError,
    codec::{self, Decoder},
    entry::{JoinV1, OpenV1},
    group::{HEADER_BYTES, Hash},
    retention::{Ages, SegmentAge},
    segment::{Opened, SegmentReader},
    side::{Joined, Joins},
    storage::segments,
    walk::ChainPlace,
};
use crate::kernel::{
    ids::{Mixing, RequestId},
    names::Names,
    record::{Entry, Open},
    time::UnixMs,
};
use prost::Message;
use std::{collections::HashMap, path::Path, sync::Arc};

/// Requests that have been opened and not yet closed.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    places: HashMap<RequestId, u32, Mixing>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Slot {
    open: Open,
    /// It stands in a group.
    written: bool,
}

/// What replay has found open: it stands in groups.
impl FromIterator<Open> for InFlight {
    fn from_iter<T: IntoIterator<Item = Open>>(opens: T) -> Self {
        let mut all = Self::default();
        opens.into_iter().for_each(|open| all.open(open, true));
        all
    }
}

impl InFlight {
    /// Takes note of a request that was opened.
    pub fn open(&mut self, open: Open, written: bool) {
        let slot = Some(Slot { open, written });
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        if let Some(twice) = self.places.insert(open.request_id, place) {
            self.forget(twice);
        }
    }

    /// Takes note of an entry that stands in a group.
    pub fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Open(open) => self.open(*open, true),
            Entry::Close(record) => self.close(record.request_id),
        }
    }

    /// Takes note of a request that was closed.
    pub fn close(&mut self, id: RequestId) {
        if let Some(place) = self.places.remove(&id) {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: u32) {
        self.slots[place as usize] = None;
        self.free.push(place);
    }

    /// The note of a request that is still open and stands in no group; from now on it does.
    pub fn unwritten(&mut self, id: RequestId) -> Option<&Open> {
        let slot = self.slots.get_mut(*self.places.get(&id)? as usize)?.as_mut()?;
        (!std::mem::replace(&mut slot.written, true)).then_some(&slot.open)
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = &Open> {
        self.slots.iter().flatten().map(|slot| &slot.open)
    }

    pub fn into_map(self) -> HashMap<RequestId, Open> {
        self.values().map(|open| (open.request_id, *open)).collect()
    }
}

/// Where the journal stood, and what was in flight there.
#[derive(Clone, Debug)]
pub struct JournalState {
    pub(in crate::control) place: ChainPlace,
    pub(super) ages: Ages,
    pub(super) in_flight: InFlight,
    pub(super) last_seen: UnixMs,
    pub(super) joins: Joins,
}

#[derive(Clone, PartialEq, Message)]
struct StateV1 {
    #[prost(uint64, tag = "1")]
    segment: u64,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(bytes = "vec", tag = "3")]
    last: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    ages: Vec<AgeV1>,
    #[prost(message, repeated, tag = "5")]
    in_flight: Vec<OpenV1>,
    #[prost(uint64, tag = "6")]
    last_seen_ms: u64,
    #[prost(message, repeated, tag = "7")]
    joins: Vec<JoinV1>,
}

#[derive(Clone, PartialEq, Message)]
struct AgeV1 {
    #[prost(uint64, tag = "1")]
    segment: u64,
    #[prost(uint64, tag = "2")]
    newest_ms: u64,
}

impl JournalState {
    /// The segment that the place is in.
    pub fn segment(&self) -> u64 {
        self.place.segment
    }

    /// As a message.
    pub fn encode(&self, names: &Names) -> Vec<u8> {
        let age = |age: &SegmentAge| AgeV1 { segment: age.segment, newest_ms: age.newest.0 };
        StateV1 {
            segment: self.place.segment,
            offset: self.place.offset,
            last: self.place.last.to_vec(),
            ages: self.ages.iter().map(age).collect(),
            in_flight: self.in_flight.values().map(|open| codec::encode_open(open, names)).collect(),
            last_seen_ms: self.last_seen.0,
            joins: self.joins.values().map(Joined::encode).collect(),
        }
        .encode_to_vec()
    }

    /// Reads the message back, or says what is wrong with it.
    pub fn decode(bytes: &[u8], names: &Arc<Names>) -> Result<Self, String> {
        let state = StateV1::decode(bytes).map_err(|error| error.to_string())?;
        let last: Hash = state.last.try_into().map_err(|_| "the hash in it is none".to_owned())?;
        let mut decoder = Decoder::new(names.clone());
        let mut in_flight = InFlight::default();
        for open in state.in_flight {
            in_flight.open(decoder.open(open).map_err(|error| error.to_string())?, true);
        }
        let joins: Result<Vec<Joined>, String> = state.joins.into_iter().map(Joined::decode).collect();
        let age = |age: AgeV1| SegmentAge { segment: age.segment, newest: UnixMs(age.newest_ms) };
        Ok(Self {
            place: ChainPlace { segment: state.segment, offset: state.offset, last },
            ages: state.ages.into_iter().map(age).collect(),
            in_flight,
            last_seen: UnixMs(state.last_seen_ms),
            joins: joins?.into_iter().map(|joined| (joined.name.clone(), joined)).collect(),
        })
    }

    /// Is this a place in the journal of this directory, and are the segments before it one chain that leads to it? What is in
    /// those is not read: `weir audit verify` does that.
    pub fn check(&self, directory: &Path) -> Result<(), String> {
        let text = |error: JournalError| error.to_string();
        let older: Vec<u64> = segments(directory).map_err(text)?;
        let mut previous: Option<(u64, Hash)> = None;
        for segment in older.into_iter().filter(|segment| *segment <= self.place.segment) {
            let Opened::Begun(reader, header) = SegmentReader::open(directory, segment).map_err(text)? else {
                return Err(format!("segment {segment} has no header"));
            };
            if let Some((number, last)) = previous
                && (number + 1 != segment || header.previous != last)
            {
                return Err(format!("segment {segment} does not continue segment {number}"));
            }
            if segment < self.place.segment {
                let end = if reader.length() == HEADER_BYTES as u64 { Some(header.previous) } else { None };
                let end = end.or(reader.hash_before(reader.length()).map_err(text)?);
                previous = end.map(|hash| (segment, hash));
                continue;
            }
            let begins = self.place.offset == HEADER_BYTES as u64;
            let before =
                if begins { Some(header.previous) } else { reader.hash_before(self.place.offset).map_err(text)? };
            return match before {
                Some(hash) if hash == self.place.last => Ok(()),
                _ => Err(format!("segment {segment} is another one at byte {}", self.place.offset)),
            };
        }
        Err(format!("segment {} is not in the store", self.place.segment))
    }
}
