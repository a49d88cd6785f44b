//! Model → targets. The model is read off the path, or off the first bytes of the body; the walk goes on as soon as it is known.

use super::{Identified, objects::Sought};
use crate::{
    data::{
        edge::{
            incoming::{Exchange, too_large},
            pipe::{BodyFailure, wanted},
        },
        relay::target::model_at as model_at_upstream,
    },
    dialect::{Route, segment},
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::{MODEL_BYTES_MAX, TARGETS_MAX},
        models::{Strategy, Target},
        record::Format,
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
    /// Where the model's id stands in the body, quotes included; `None` where the path names it.
    pub model_at: Option<(u64, u64)>,
    /// Who may serve it.
    pub targets: &'c [Target],
    /// Places of those that can serve this request, as bits: not every upstream has a way to say it.
    pub able: u64,
    /// Of these, the ones that speak the client's own format. They come before the others, since nothing is lost there.
    pub native: u64,
    /// How one of them is chosen.
    pub strategy: Strategy,
    /// Of batches and files: which.
    pub sought: Option<Box<Sought>>,
}

impl<'c> Routed<'c> {
    /// Did the client write just this id?
    pub fn wrote(&self, id: &str) -> bool {
        !self.suffixed && *self.model == *id
    }

    /// Is the answer to be a stream? Said by the path, or as far as the body has told.
    pub fn streams(&self, cx: &Exchange<'_>) -> bool {
        let told = || cx.pipe.scanner().value(wanted::STREAM).is_some_and(|value| value.raw == b"true");
        self.identified.incoming.route.stream.unwrap_or_else(told)
    }

    /// The target that is asked first if nothing speaks against it.
    pub fn first(&self) -> Option<&'c Target> {
        let among = if self.native == 0 { self.able } else { self.native };
        self.targets.get(among.trailing_zeros() as usize)
    }
}

/// Finds out who serves a request.
pub async fn route<'c>(cx: &Exchange<'c>, identified: Identified<'c>) -> Result<Routed<'c>, Fault> {
    let route = &identified.incoming.route;
    let (asked, model_at) = if route.names_model() { model_in_path(cx, route)? } else { model_of(cx).await? };
    let (model, suffixed) = match asked.strip_suffix(WINDOW_SUFFIX) {
        Some(stem) => (stem.to_owned(), true),
        None => (asked, false),
    };
    let known = cx.serving.models.get(&model);
    let strategy = known.map_or(Strategy::Ordered, |m| m.strategy);
    let allowed = &identified.caller.models;
    if !allowed.allows(&model) && known.is_none_or(|listed| !allowed.allows(&listed.id)) {
        let text = format!("this key may not use model {model}");
        return Err(Fault::new(Room::Gate, FaultKind::Denied, text));
    }
    let Some(targets) = cx.serving.models.targets_of(known) else {
        let text = format!("model: {model} is not served by this gateway");
        return Err(Fault::new(Room::Gate, FaultKind::NotFound, text));
    };
    let (mut able, mut native) = ways(cx, targets, &model, route.format);
    if known.is_none() {
        // An id that nobody listed goes to one upstream.
        able = lowest(if native == 0 { able } else { native });
        native &= able;
    }
    if able == 0 {
        let text = format!("model: {model} is not served by this gateway in the {} format", route.format.as_str());
        return Err(Fault::new(Room::Gate, FaultKind::NotFound, text));
    }
    Ok(Routed { identified, model, suffixed, model_at, targets, able, native, strategy, sought: None })
}

fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

/// Which targets can be asked in a client's format, and which of them speak it.
fn ways(cx: &Exchange<'_>, targets: &[Target], model: &str, format: Format) -> (u64, u64) {
    let (mut able, mut native) = (0, 0);
    for (place, target) in targets.iter().enumerate().take(TARGETS_MAX) {
        let Some(upstream) = cx.serving.upstream(target.upstream) else { continue };
        if model_at_upstream(format, upstream, target, model).is_some() {
            able |= 1 << place;
            native |= u64::from(upstream.provider.format() == format) << place;
        }
    }
    (able, native)
}

/// The model that the path names.
fn model_in_path(cx: &Exchange<'_>, route: &Route) -> Found {
    let raw = cx.path().get(route.resource.clone()).unwrap_or_default();
    match segment::decode(raw) {
        Some(id) if id.len() <= MODEL_BYTES_MAX => Ok((id.into_owned(), None)),
        _ => Err(bad("model: the path names none, or one that is too long".to_owned())),
    }
}

/// Waits for the model id. It may come late; then the body is kept, within the shard's cap.
async fn model_of(cx: &Exchange<'_>) -> Found {
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

/// The model's id, and where it stands in the body.
type Found = Result<(String, Option<(u64, u64)>), Fault>;

fn look(cx: &Exchange<'_>) -> Option<Found> {
    if let Some(failure) = cx.pipe.failure() {
        return Some(Err(body_fault(cx, failure)));
    }
    if let Some(value) = cx.pipe.scanner().value(wanted::MODEL) {
        return Some(match unescape_string(value.raw) {
            Some(id) if !value.truncated && !id.is_empty() => Ok((id.into_owned(), Some((value.start, value.end)))),
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
