//! Batches and files: which account is asked, and whether the caller may. Ids stay the provider's own; who made what, and
//! where, is in `Objects`, which shards share and the journal remembers. What another scope made does not exist for a caller.

use super::{Identified, Routed, batches};
use crate::{
    data::{edge::incoming::Exchange, settle::OpenRecord},
    dialect::anthropic::objects::{Paging, paging},
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::{BATCH_BODY_BYTES_MAX, FILE_BODY_BYTES_MAX, Limits},
        models::{Strategy, Target},
        objects::{Owned, Unknown, shares},
        record::Operation,
    },
};

/// What is known of the object or the list that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// The object's id; empty for lists, and for what is yet to be made.
    pub id: String,
    /// What is known of it.
    pub owned: Option<Owned>,
    /// What of a list is asked for.
    pub paging: Option<Paging>,
}

/// The most that a body on this path may have.
pub fn body_bytes_max(path: &[u8], limits: &Limits) -> u64 {
    if path.ends_with(b"/v1/messages/batches") {
        BATCH_BODY_BYTES_MAX.max(limits.body_bytes_max)
    } else if path.ends_with(b"/v1/files") {
        FILE_BODY_BYTES_MAX.max(limits.body_bytes_max)
    } else {
        limits.body_bytes_max
    }
}

/// Finds the accounts to ask. Of a batch that is made, its budgets are held from here on.
pub async fn route<'c>(
    cx: &Exchange<'c>,
    identified: Identified<'c>,
    open: &mut OpenRecord,
) -> Result<Routed<'c>, Fault> {
    let targets = cx.serving.models.accounts();
    if targets.is_empty() {
        let text =
            "no upstream of this gateway keeps batches or files; that takes one of provider anthropic or anthropic_aws";
        return Err(Fault::new(Room::Gate, FaultKind::NotFound, text));
    }
    let operation = identified.incoming.route.operation;
    let all = targets.iter().enumerate().fold(0, |bits, (place, _)| bits | 1 << (place & 63));
    let mut sought = Sought::default();
    let able = match operation {
        Operation::BatchCreate => batches::admit(cx, &identified, open).await?,
        Operation::FileUpload => all,
        _ if operation.lists() => {
            let asked = paging(cx.head.query.of(cx.bytes));
            let paging = asked.map_err(|text| Fault::new(Room::Gate, FaultKind::BadBody, text))?;
            let cursor = paging.cursor.clone();
            sought.paging = Some(paging);
            match cursor {
                Some(id) => {
                    let owned = reach(cx, &identified, &id)?;
                    at(cx, targets, owned).ok_or_else(|| none(&id))?
                }
                None => all,
            }
        }
        _ => {
            let raw = cx.path().get(identified.incoming.route.resource.clone()).unwrap_or_default();
            sought.id = String::from_utf8_lossy(raw).into_owned();
            sought.owned = reach(cx, &identified, &sought.id)?;
            match sought.owned {
                Some(_) => at(cx, targets, sought.owned).ok_or_else(|| none(&sought.id))?,
                None => all,
            }
        }
    };
    Ok(Routed {
        identified,
        model: String::new(),
        suffixed: false,
        model_at: None,
        targets,
        able,
        native: able,
        strategy: Strategy::Ordered,
        sought: Some(Box::new(sought)),
    })
}

/// What is known of an object that the caller names; what it may not reach does not exist.
fn reach(cx: &Exchange<'_>, identified: &Identified<'_>, id: &str) -> Result<Option<Owned>, Fault> {
    let registry = &cx.serving.registry;
    match registry.objects.find(id) {
        Some(owned) => {
            let (maker, caller) = (owned.principal, identified.caller.principal);
            let names = &registry.names;
            let may = maker == caller || shares(&names.principal_of(maker), &names.principal_of(caller));
            if may { Ok(Some(owned)) } else { Err(none(id)) }
        }
        None if cx.serving.unknown_objects == Unknown::Ask => Ok(None),
        None => Err(none(id)),
    }
}

fn none(id: &str) -> Fault {
    let text = format!("{id}: no such object; callers reach what their own team made through this gateway");
    Fault::new(Room::Gate, FaultKind::NotFound, text)
}

/// The account that has an object, as a bit; none if it is configured no longer.
fn at(cx: &Exchange<'_>, targets: &[Target], owned: Option<Owned>) -> Option<u64> {
    let owned = owned?;
    let has = |target: &Target| cx.serving.upstream(target.upstream).is_some_and(|u| u.name_id == owned.upstream);
    targets.iter().position(has).map(|place| 1 << (place & 63))
}
