//! The cells of an hour or a minute, in columns: small on disk, quick to read.

use super::{
    super::{
        Sums,
        cells::{CellKey, Cells, Class, Slots},
    },
    body::{Numbers, Places},
};
use crate::kernel::{ids::PrincipalId, money::Nanos, names::NameId};
use std::sync::Arc;

/// Cells in one message, at most.
const PART_CELLS_MAX: usize = 16 * 1024;

/// Cells of one slot: the nth of each list belongs to the nth cell.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SlotV1 {
    /// Hours or minutes since the epoch.
    #[prost(sint64, tag = "1")]
    slot: i64,
    #[prost(uint32, repeated, tag = "2")]
    principal: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    model: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    upstream: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    class: Vec<u32>,
    /// All sessions, one behind the other.
    #[prost(string, tag = "6")]
    sessions: String,
    #[prost(uint32, repeated, tag = "7")]
    session_bytes: Vec<u32>,
    /// As many for each cell as `figures` gives.
    #[prost(uint64, repeated, tag = "8")]
    figures: Vec<u64>,
    #[prost(sint64, repeated, tag = "9")]
    cost_nanos: Vec<i64>,
}

const FIGURES: usize = 8;

fn figures(sums: &Sums) -> [u64; FIGURES] {
    [
        sums.requests,
        sums.estimated_requests,
        sums.input_tokens,
        sums.output_tokens,
        sums.cache_read_tokens,
        sums.cache_write_5m_tokens,
        sums.cache_write_1h_tokens,
        sums.web_searches,
    ]
}

fn sums(figures: [u64; FIGURES], cost_nanos: i64) -> Sums {
    let [requests, estimated, input, output, read, write_5m, write_1h, searches] = figures;
    Sums {
        requests,
        estimated_requests: estimated,
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: read,
        cache_write_5m_tokens: write_5m,
        cache_write_1h_tokens: write_1h,
        web_searches: searches,
        cost: Nanos(cost_nanos),
    }
}

/// The cells of a slot as messages.
pub(super) fn parts(
    slot: i64,
    cells: &Cells,
    principals: &mut Places<PrincipalId>,
    upstreams: &mut Places<NameId>,
) -> Vec<SlotV1> {
    let mut parts: Vec<SlotV1> = Vec::new();
    for (n, (key, sums)) in cells.iter().enumerate() {
        if n.is_multiple_of(PART_CELLS_MAX) {
            parts.push(SlotV1 { slot, ..SlotV1::default() });
        }
        let Some(part) = parts.last_mut() else { continue };
        part.principal.push(principals.of(key.principal));
        part.model.push(key.model);
        part.upstream.push(upstreams.of(key.upstream));
        part.class.push(u32::from(key.class.0));
        part.sessions.push_str(&key.session);
        part.session_bytes.push(key.session.len() as u32);
        part.figures.extend(figures(sums));
        part.cost_nanos.push(sums.cost.0);
    }
    parts
}

/// Puts the cells of a message where they belong, or says what is wrong with them.
pub(super) fn add(part: SlotV1, numbers: &Numbers, slots: &mut Slots) -> Result<(), String> {
    let cells = part.cost_nanos.len();
    let lists = [&part.principal, &part.model, &part.upstream, &part.class, &part.session_bytes];
    if lists.iter().any(|list| list.len() != cells) || part.figures.len() != cells * FIGURES {
        return Err("the lists of a slot are not of one length".into());
    }
    let none = "a cell names what is in no table";
    let mut sessions = part.sessions.as_str();
    let slot = Arc::make_mut(slots.entry(part.slot).or_default());
    slot.reserve(cells);
    for n in 0..cells {
        let (session, rest) = sessions.split_at_checked(part.session_bytes[n] as usize).ok_or("a session is cut")?;
        sessions = rest;
        let class = u8::try_from(part.class[n]).ok().filter(|class| *class <= Class::ALL).ok_or(none)?;
        if part.model[n] >= numbers.models {
            return Err(none.into());
        }
        let key = CellKey {
            principal: at(&numbers.principals, part.principal[n]).ok_or(none)?,
            model: part.model[n],
            upstream: at(&numbers.upstreams, part.upstream[n]).ok_or(none)?,
            class: Class(class),
            session: if session.is_empty() { Arc::default() } else { session.into() },
        };
        let figures: [u64; FIGURES] =
            part.figures[n * FIGURES..][..FIGURES].try_into().map_err(|_| "a cell's figures are cut")?;
        if slot.insert(key, sums(figures, part.cost_nanos[n])).is_some() {
            return Err("a cell is there twice".into());
        }
    }
    Ok(())
}

/// The number at a place from 1, or none at 0; `None` if there is no such place.
fn at<T: Copy>(list: &[T], place: u32) -> Option<Option<T>> {
    match place {
        0 => Some(None),
        place => list.get(place as usize - 1).map(|number| Some(*number)),
    }
}
