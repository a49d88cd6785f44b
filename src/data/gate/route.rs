//! Model → targets. The model is read off the first bytes of the body; the walk goes on as soon as it is known.

use super::Identified;
use crate::{
    data::edge::{
        incoming::{Exchange, too_large},
        pipe::{BodyFailure, wanted},
    },
    kernel::{
        fault::{Fault, FaultKind, Room},
        models::{Strategy, Target},
    },
    wire::json::unescape_string,
};

/// The suffix by which Claude Code marks a million-token window; it is the client's own (contract.md §3.8).
const WINDOW_SUFFIX: &str = "[1m]";

/// A request that somebody serves.
pub struct Routed<'c> {
    /// Who asks.
    pub identified: Identified<'c>,
    /// What for; the client-side suffix is gone.
    pub model: String,
    /// The client wrote the suffix, so that the id must be replaced even where the target has the same.
    pub suffixed: bool,
    /// Where the model's id stands in the body, quotes included.
    pub model_at: (u64, u64),
    /// Who serves it.
    pub targets: &'c [Target],
    /// How one of them is chosen.
    pub strategy: Strategy,
}

/// Finds out who serves a request.
pub async fn route<'c>(cx: &Exchange<'c>, identified: Identified<'c>) -> Result<Routed<'c>, Fault> {
    let (asked, model_at) = model_of(cx).await?;
    let (model, suffixed) = match asked.strip_suffix(WINDOW_SUFFIX) {
        Some(stem) => (stem.to_owned(), true),
        None => (asked, false),
    };
    let known = cx.serving.models.get(&model);
    let listed = known.map_or(model.as_str(), |m| &m.id);
    let strategy = known.map_or(Strategy::Ordered, |m| m.strategy);
    if !identified.caller.models.allows(&model) && !identified.caller.models.allows(listed) {
        let text = format!("this key may not use model {model}");
        return Err(Fault::new(Room::Gate, FaultKind::Denied, text));
    }
    match cx.serving.models.targets(&model) {
        Some(targets) => Ok(Routed { identified, model, suffixed, model_at, targets, strategy }),
        None => {
            Err(Fault::new(Room::Gate, FaultKind::NotFound, format!("model: {model} is not served by this gateway")))
        }
    }
}

/// Waits for the model id. It may come late; then the body is kept, within the shard's cap.
async fn model_of(cx: &Exchange<'_>) -> Result<(String, (u64, u64)), Fault> {
    if let Some(found) = look(cx) {
        return found;
    }
    if !cx.pipe.look_further() {
        return Err(Fault::new(Room::Gate, FaultKind::Overloaded, "too many large requests at once; try again"));
    }
    let found = cx.pipe.until(|| look(cx)).await;
    cx.pipe.look_no_further();
    found
}

type Found = Result<(String, (u64, u64)), Fault>;

fn look(cx: &Exchange<'_>) -> Option<Found> {
    if let Some(failure) = cx.pipe.failure() {
        return Some(Err(body_fault(cx, failure)));
    }
    if let Some(value) = cx.pipe.scanner().value(wanted::MODEL) {
        return Some(match unescape_string(value.raw) {
            Some(id) if !value.truncated && !id.is_empty() => Ok((id.into_owned(), (value.start, value.end))),
            _ => Err(bad("model: must be a model id".to_owned())),
        });
    }
    if let Some(error) = cx.pipe.scan_error() {
        return Some(Err(bad(error.to_string())));
    }
    cx.pipe.is_ended().then(|| Err(bad("model: field required".to_owned())))
}

fn bad(text: String) -> Fault {
    Fault::new(Room::Gate, FaultKind::BadBody, text)
}

/// What a failed body means for the client.
pub fn body_fault(cx: &Exchange<'_>, failure: BodyFailure) -> Fault {
    match failure {
        BodyFailure::Gone => Fault::new(Room::Edge, FaultKind::ClientGone, "the client went away").closing(),
        BodyFailure::TimedOut => {
            Fault::new(Room::Edge, FaultKind::ClientTimeout, "the request body did not arrive in time").closing()
        }
        BodyFailure::Crowded => {
            Fault::new(Room::Gate, FaultKind::Overloaded, "too many large requests at once; try again").closing()
        }
        BodyFailure::TooLarge => too_large(cx.serving.limits.body_bytes_max).closing(),
        BodyFailure::Malformed(text) => Fault::new(Room::Edge, FaultKind::BadBody, text).closing(),
    }
}
