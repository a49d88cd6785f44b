//! What weir answers from memory: probes, the model list, and what a caller's budgets have left.

use super::{Caller, Identified};
use crate::{
    data::edge::incoming::Exchange,
    dialect::{
        answer::Answer,
        anthropic::{
            models::{Listed, page},
            spend::{self, Cap},
        },
        bedrock::{self, profiles::Profile},
        segment,
    },
    kernel::{
        catalogue,
        fault::{Fault, FaultKind, Room},
        platform,
        record::Format,
        snapshot::Provider,
    },
    sys::clock,
};

/// Context window and longest answer of a model that the catalogue does not know, tokens (contract.md §3.8).
const UNKNOWN_WINDOW: (u64, u64) = (200_000, 64_000);

/// Answers a probe.
pub fn probe() -> Answer {
    Answer::empty(200)
}

/// Answers `GET /v1/models` and `GET /v1/models/{id}`: what this key may use, and no more.
pub fn models(cx: &Exchange<'_>, identified: &Identified<'_>) -> Result<Answer, Fault> {
    if identified.incoming.route.format == Format::Bedrock {
        return profiles(cx, identified);
    }
    let all = listed(cx, &identified.caller);
    let resource = cx.path().get(identified.incoming.route.resource.clone()).unwrap_or_default();
    let query = std::str::from_utf8(cx.head.query.of(cx.bytes)).unwrap_or("");
    let body = if resource.is_empty() {
        page(&all, query).map_err(|text| Fault::new(Room::Gate, FaultKind::BadBody, text))?
    } else {
        let id =
            std::str::from_utf8(resource).unwrap_or("").replace("%40", "@").replace("%3A", ":").replace("%3a", ":");
        let found = all.iter().find(|m| m.id == id);
        found.ok_or_else(|| Fault::new(Room::Gate, FaultKind::NotFound, format!("model: {id}")))?.object()
    };
    Ok(Answer::json(200, body.to_string().into_bytes()))
}

/// Answers `GET /inference-profiles…` of Bedrock clients, out of the routing table.
fn profiles(cx: &Exchange<'_>, identified: &Identified<'_>) -> Result<Answer, Fault> {
    let all: Vec<Profile> = listed(cx, &identified.caller).iter().filter_map(|model| profile(cx, model)).collect();
    let resource = cx.path().get(identified.incoming.route.resource.clone()).unwrap_or_default();
    let body = match segment::decode(resource) {
        None => {
            let query = std::str::from_utf8(cx.head.query.of(cx.bytes)).unwrap_or("");
            bedrock::profiles::page(&all, query).map_err(|text| Fault::new(Room::Gate, FaultKind::BadBody, text))?
        }
        Some(asked) => {
            let none = || Fault::new(Room::Gate, FaultKind::NotFound, format!("inference profile: {asked}"));
            bedrock::profiles::find(&all, &asked).ok_or_else(none)?.object()
        }
    };
    Ok(Answer::json(200, body.to_string().into_bytes()))
}

/// A model as a profile, with the geography of the first Bedrock upstream that serves it; none that no client of Bedrock could
/// be served.
fn profile(cx: &Exchange<'_>, model: &Listed) -> Option<Profile> {
    let targets = cx.serving.models.targets(&model.id)?;
    let upstreams = targets.iter().filter_map(|t| cx.serving.upstream(t.upstream));
    let region = upstreams.clone().find(|u| u.provider == Provider::Bedrock).map_or("", |u| &u.region);
    let id = match platform::is_bedrock(&model.id) {
        true => model.id.clone(),
        false => platform::id_at(Provider::Bedrock, region, &model.id)?,
    };
    let id = if id.starts_with("arn:") { id.rsplit_once('/')?.1.to_owned() } else { id };
    Some(Profile { id, name: model.display_name.clone(), created_at: model.created_at.clone() })
}

/// Answers `GET /api/oauth/usage`: the caller's own budgets, as they stand now.
pub fn usage(cx: &Exchange<'_>, caller: &Caller<'_>) -> Answer {
    let now = clock::unix().seconds();
    let budgets = caller.budgets(cx.serving).filter_map(|b| b.account_at(now));
    let caps: Vec<Cap> = budgets
        .map(|account| Cap {
            period: account.period,
            amount: account.amount(),
            spent: account.spent_about(),
            resets_at: account.window.resets_at(),
        })
        .collect();
    spend::usage(&caps)
}

fn listed(cx: &Exchange<'_>, caller: &Caller<'_>) -> Vec<Listed> {
    let table = &cx.serving.models;
    let mut all: Vec<Listed> = table.iter().filter(|m| caller.models.allows(&m.id)).map(|m| describe(&m.id)).collect();
    if table.passes_unlisted() {
        let more = catalogue::CATALOGUE.iter().filter(|m| caller.models.allows(m.id) && table.get(m.id).is_none());
        all.extend(more.map(|m| describe(m.id)));
    }
    all
}

fn describe(id: &str) -> Listed {
    match catalogue::find(id) {
        Some(known) => Listed {
            id: id.to_owned(),
            display_name: known.display_name.to_owned(),
            created_at: known.created_at.to_owned(),
            max_input_tokens: known.max_input_tokens,
            max_tokens: known.max_tokens,
        },
        None => Listed {
            id: id.to_owned(),
            display_name: id.to_owned(),
            created_at: "1970-01-01T00:00:00Z".to_owned(),
            max_input_tokens: UNKNOWN_WINDOW.0,
            max_tokens: UNKNOWN_WINDOW.1,
        },
    }
}
