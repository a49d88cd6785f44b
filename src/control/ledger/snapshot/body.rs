//! What is in a snapshot: the place in the journal, then the ledger's tables, its cells, its newest records and changes. Whatever
//! else a `LedgerImage` comes to know of the journal must be here too: a start does not see what is before the place.

use super::{
    super::{
        LedgerImage,
        minutes::Minutes,
        models::Models,
        rollup::{Folds, Rollup},
    },
    file::Hashing,
    slots::{self, SlotV1},
};
use crate::{
    control::journal::{JournalState, change_bytes, change_of, record_bytes, records_of},
    kernel::{
        ids::PrincipalId,
        keys::Principal,
        money::Nanos,
        names::{NameId, Names},
        objects::Owned,
        time::UnixMs,
    },
};
use prost::Message;
use std::{collections::HashMap, io, sync::Arc};

const STATE: u32 = 1;
const TABLES: u32 = 2;
const HOUR: u32 = 3;
const MINUTE: u32 = 4;
const RECORD: u32 = 5;
const CHANGE: u32 = 6;
const OBJECTS: u32 = 7;
/// Objects in a section.
const OBJECTS_IN_SECTION: usize = 4096;

/// What is there once. Numbers in cells are places in these lists, from 1; 0 is none.
#[derive(Clone, PartialEq, Message)]
struct TablesV1 {
    #[prost(uint64, tag = "1")]
    refused: u64,
    #[prost(uint64, tag = "2")]
    as_of_ms: u64,
    #[prost(string, repeated, tag = "3")]
    models: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    upstreams: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    principals: Vec<PrincipalV1>,
    #[prost(uint64, tag = "6")]
    fold_at: u64,
    #[prost(sint64, tag = "7")]
    sessions_before: i64,
    #[prost(sint64, tag = "8")]
    hours_before: i64,
    #[prost(sint64, tag = "9")]
    minutes_gone_before: i64,
}

/// Batches and files, and who made them.
#[derive(Clone, PartialEq, Message)]
struct ObjectsV1 {
    #[prost(message, repeated, tag = "1")]
    objects: Vec<ObjectV1>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectV1 {
    #[prost(fixed64, tag = "1")]
    place_high: u64,
    #[prost(fixed64, tag = "2")]
    place_low: u64,
    #[prost(uint32, tag = "3")]
    upstream: u32,
    #[prost(uint32, tag = "4")]
    principal: u32,
    #[prost(uint64, tag = "5")]
    made_at_ms: u64,
    #[prost(sint64, tag = "6")]
    held_nanos: i64,
    #[prost(bool, tag = "7")]
    settled: bool,
    #[prost(bool, tag = "8")]
    sticky: bool,
}

/// Reserved: 5 for an organisation.
#[derive(Clone, PartialEq, Message)]
struct PrincipalV1 {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(string, tag = "3")]
    team: String,
    #[prost(string, tag = "4")]
    project: String,
}

/// Places given to numbers of this process, in the order they came.
#[derive(Default)]
pub(super) struct Places<T> {
    list: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T: Copy + Eq + std::hash::Hash> Places<T> {
    /// The place of a number, from 1; 0 for none.
    pub fn of(&mut self, number: Option<T>) -> u32 {
        let Some(number) = number else { return 0 };
        let list = &mut self.list;
        *self.places.entry(number).or_insert_with(|| {
            list.push(number);
            list.len() as u32
        })
    }
}

/// Numbers of this process, by the places of the one that wrote.
pub(super) struct Numbers {
    pub principals: Vec<PrincipalId>,
    pub upstreams: Vec<NameId>,
    pub models: u32,
}

/// Writes everything.
pub(super) fn encode(image: &LedgerImage, state: &JournalState, out: &mut Hashing) -> io::Result<()> {
    let (mut principals, mut upstreams) = (Places::default(), Places::default());
    for cells in image.rollup.slots.values().chain(image.minutes.slots.values()) {
        for key in cells.keys() {
            principals.of(key.principal);
            upstreams.of(key.upstream);
        }
    }
    let objects = image.objects.on_disk();
    let objects: Vec<ObjectV1> =
        objects.iter().map(|(place, owned)| object(*place, owned, &mut principals, &mut upstreams)).collect();
    out.section(STATE, &state.encode(&image.names))?;
    out.section(TABLES, &tables(image, &principals.list, &upstreams.list).encode_to_vec())?;
    for (tag, slots) in [(HOUR, &image.rollup.slots), (MINUTE, &image.minutes.slots)] {
        for (slot, cells) in slots {
            for part in slots::parts(*slot, cells, &mut principals, &mut upstreams) {
                out.section(tag, &part.encode_to_vec())?;
            }
        }
    }
    for record in image.newest.records() {
        out.section(RECORD, &record_bytes(&record, &image.names))?;
    }
    for change in image.change_log().iter() {
        out.section(CHANGE, &change_bytes(change))?;
    }
    for objects in objects.chunks(OBJECTS_IN_SECTION) {
        out.section(OBJECTS, &ObjectsV1 { objects: objects.to_vec() }.encode_to_vec())?;
    }
    Ok(())
}

fn object(
    place: u128,
    owned: &Owned,
    principals: &mut Places<PrincipalId>,
    upstreams: &mut Places<NameId>,
) -> ObjectV1 {
    ObjectV1 {
        place_high: (place >> 64) as u64,
        place_low: place as u64,
        upstream: upstreams.of(Some(owned.upstream)),
        principal: principals.of(Some(owned.principal)),
        made_at_ms: owned.made_at.0,
        held_nanos: owned.held.0,
        settled: owned.settled,
        sticky: owned.sticky,
    }
}

fn restore(bytes: &[u8], numbers: &Numbers, image: &LedgerImage) -> Result<(), String> {
    let objects = ObjectsV1::decode(bytes).map_err(|error| error.to_string())?.objects;
    for object in objects {
        let place = (u128::from(object.place_high) << 64) | u128::from(object.place_low);
        let at = |number: u32| (number as usize).wrapping_sub(1);
        let upstream = numbers.upstreams.get(at(object.upstream)).copied();
        let principal = numbers.principals.get(at(object.principal)).copied();
        let (Some(upstream), Some(principal)) = (upstream, principal) else {
            return Err("an object belongs to nobody that it lists".into());
        };
        let owned = Owned {
            upstream,
            principal,
            made_at: UnixMs(object.made_at_ms),
            held: Nanos(object.held_nanos),
            sticky: object.sticky,
            on_disk: true,
            claimed: object.settled,
            settled: object.settled,
        };
        image.objects.restore(place, owned);
    }
    Ok(())
}

fn tables(image: &LedgerImage, principals: &[PrincipalId], upstreams: &[NameId]) -> TablesV1 {
    let principal = |id: &PrincipalId| {
        let Principal { key, user, team, project } = image.names.principal_of(*id).as_ref().clone();
        PrincipalV1 { key, user, team, project }
    };
    TablesV1 {
        refused: image.refused,
        as_of_ms: image.as_of.0,
        models: image.models.list().iter().map(|model| model.as_ref().into()).collect(),
        upstreams: upstreams.iter().map(|id| image.names.name_of(*id).as_ref().into()).collect(),
        principals: principals.iter().map(principal).collect(),
        fold_at: image.rollup.folds.at as u64,
        sessions_before: image.rollup.folds.sessions_before,
        hours_before: image.rollup.folds.hours_before,
        minutes_gone_before: image.minutes.gone_before,
    }
}

/// Reads everything back, or says what is wrong.
pub(super) fn decode(
    bytes: &[u8],
    names: &Arc<Names>,
    cells_max: usize,
) -> Result<(JournalState, LedgerImage), String> {
    let mut sections = Sections(bytes);
    let state = JournalState::decode(sections.wanted(STATE, "place in the journal")?, names)?;
    let tables = TablesV1::decode(sections.wanted(TABLES, "tables")?).map_err(|error| error.to_string())?;
    let mut image = LedgerImage::empty(names.clone(), cells_max);
    let numbers = numbers(&tables, names, &mut image.models);
    let (mut hours, mut minutes, mut records) = Default::default();
    while let Some((tag, bytes)) = sections.next()? {
        match tag {
            HOUR => slots::add(slot_of(bytes)?, &numbers, &mut hours)?,
            MINUTE => slots::add(slot_of(bytes)?, &numbers, &mut minutes)?,
            RECORD => Vec::push(&mut records, bytes),
            CHANGE => Arc::make_mut(&mut image.changes).push(change_of(bytes, names)?),
            OBJECTS => restore(bytes, &numbers, &image)?,
            other => return Err(format!("it has a section of kind {other}, which this version does not know")),
        }
    }
    let folds = Folds {
        at: usize::try_from(tables.fold_at).map_err(|error| error.to_string())?,
        sessions_before: tables.sessions_before,
        hours_before: tables.hours_before,
    };
    image.rollup = Rollup::restored(cells_max, hours, folds);
    image.minutes = Minutes::restored(minutes, tables.minutes_gone_before);
    records_of(records.into_iter(), names)?.into_iter().for_each(|record| image.newest.push(&record));
    (image.refused, image.as_of) = (tables.refused, UnixMs(tables.as_of_ms));
    Ok((state, image))
}

/// The place alone, of a beginning that `decode` would read.
pub(super) fn state_of(bytes: &[u8], names: &Arc<Names>) -> Result<JournalState, String> {
    JournalState::decode(Sections(bytes).wanted(STATE, "place in the journal")?, names)
}

fn slot_of(bytes: &[u8]) -> Result<SlotV1, String> {
    SlotV1::decode(bytes).map_err(|error| error.to_string())
}

fn numbers(tables: &TablesV1, names: &Names, models: &mut Models) -> Numbers {
    tables.models.iter().for_each(|model| {
        models.place(model);
    });
    let principal = |of: &PrincipalV1| {
        let PrincipalV1 { key, user, team, project } = of.clone();
        names.principal(&Principal { key, user, team, project })
    };
    Numbers {
        principals: tables.principals.iter().map(principal).collect(),
        upstreams: tables.upstreams.iter().map(|name| names.name(name)).collect(),
        models: models.list().len() as u32,
    }
}

struct Sections<'a>(&'a [u8]);

impl<'a> Sections<'a> {
    fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let (head, rest) = self.0.split_at_checked(8).ok_or("a section's head is cut")?;
        let (section, rest) = rest.split_at_checked(number(&head[4..]) as usize).ok_or("a section is cut")?;
        self.0 = rest;
        Ok(Some((number(&head[..4]), section)))
    }

    fn wanted(&mut self, tag: u32, what: &str) -> Result<&'a [u8], String> {
        let found = self.next()?.filter(|(found, _)| *found == tag);
        found.map(|(_, bytes)| bytes).ok_or_else(|| format!("it has no {what}"))
    }
}
