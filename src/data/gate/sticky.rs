//! Containers and message threads: they live in the account that made them (contract.md §1.4), so a request that goes on with one
//! goes there, whatever the model's other targets are doing. Who named one before is known from answers (`Objects`), over restarts
//! too; for everybody else nothing of this costs more than one look at a counter.

use super::{Routed, admit::whole_body};
use crate::{
    data::edge::{incoming::Exchange, pipe::wanted},
    kernel::{
        fault::{Fault, FaultKind, Room},
        objects::shares,
    },
};
use serde::Deserialize;

/// What a request goes on with, as far as the body has come.
#[derive(Deserialize)]
#[serde(untagged)]
enum Container {
    Id(String),
    Described { id: Option<String> },
}

#[derive(Deserialize)]
struct Thread {
    previous_message_id: Option<String>,
}

/// Leaves only the account that has what the request goes on with. Nothing that names one goes to another format.
pub async fn stick(cx: &Exchange<'_>, routed: &mut Routed<'_>) -> Result<(), Fault> {
    let objects = &cx.serving.registry.objects;
    if !objects.any_sticky() {
        return Ok(());
    }
    let principal = routed.identified.caller.principal;
    if routed.able.count_ones() > 1 && objects.has_sticky(principal) && !cx.pipe.is_ended() {
        // Both may stand behind the messages.
        whole_body(cx).await?;
    }
    for (id, what) in [(container(cx), "container"), (thread(cx), "thread")] {
        let Some(id) = id else { continue };
        let Some(owned) = objects.find(&id) else {
            routed.able = if routed.native == 0 { routed.able } else { routed.native };
            continue;
        };
        let names = &cx.serving.registry.names;
        let (maker, caller) = (owned.principal, principal);
        if maker != caller && !shares(&names.principal_of(maker), &names.principal_of(caller)) {
            return Err(gone(what, &id));
        }
        let there = routed.targets.iter().enumerate().filter(|(_, target)| {
            cx.serving.upstream(target.upstream).is_some_and(|upstream| upstream.name_id == owned.upstream)
        });
        let able = there.fold(0, |bits, (place, _)| bits | 1 << (place & 63)) & routed.able;
        // Where it is no target of the model any more, the others say themselves that they do not have it: clients know those words.
        if able != 0 {
            (routed.able, routed.native) = (able, routed.native & able);
        }
    }
    Ok(())
}

/// Clients begin anew when they are told so (contract.md §1.4).
fn gone(what: &str, id: &str) -> Fault {
    let text = format!("{what}: {id} was not found");
    Fault::new(Room::Gate, FaultKind::NotFound, text)
}

fn container(cx: &Exchange<'_>) -> Option<String> {
    let scanner = cx.pipe.scanner();
    let raw = scanner.value(wanted::CONTAINER).filter(|value| !value.truncated)?.raw;
    match serde_json::from_slice(raw).ok()? {
        Container::Id(id) => Some(id),
        Container::Described { id } => id,
    }
}

fn thread(cx: &Exchange<'_>) -> Option<String> {
    let scanner = cx.pipe.scanner();
    let raw = scanner.value(wanted::THREAD).filter(|value| !value.truncated)?.raw;
    serde_json::from_slice::<Thread>(raw).ok()?.previous_message_id
}
