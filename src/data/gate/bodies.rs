//! Whether the audit keeps a request's bodies, and what to do if it should and cannot (`[audit] on_body_overflow`). It is asked once
//! per request, as soon as the caller is known, before money is held and long before a byte goes upstream.

use super::admit::announced_bytes;
use crate::{
    data::{
        edge::{
            incoming::Exchange,
            tap::{Capture, Wanted},
        },
        settle::OpenRecord,
    },
    kernel::{
        bodies::{Bodies, OnOverflow},
        fault::{Fault, FaultKind, Room},
        ids::PrincipalId,
    },
};

/// Taps what is to be kept of this caller's bodies.
pub fn keep(cx: &Exchange<'_>, principal: PrincipalId, open: &mut OpenRecord) -> Result<(), Fault> {
    let rules = &cx.serving.bodies;
    if rules.is_off() {
        return Ok(());
    }
    let wanted = match rules.of(&cx.serving.registry.names.principal_of(principal).team) {
        Bodies::None => return Ok(()),
        Bodies::Hash => Wanted::Hashes,
        Bodies::Full if cx.shard.bodies.borrow().has_room(announced_bytes(cx)) => Wanted::Bodies,
        Bodies::Full if rules.on_overflow == OnOverflow::Drop => Wanted::NoRoom,
        Bodies::Full => {
            cx.shard.gauges.bodies_refused.add(1);
            let text = "this team's requests must be stored, and their store is full or behind; try again later";
            return Err(Fault::new(Room::Gate, FaultKind::Overloaded, text));
        }
    };
    open.tap(Capture::begin(cx, wanted));
    Ok(())
}
