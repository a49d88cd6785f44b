//! Whom an upstream is asked for, and by which path: each platform has its own name for a model and its own place for it.

use super::asked::Asked;
use crate::{
    data::{edge::incoming::Exchange, gate::Routed},
    dialect::{bedrock, vertex},
    kernel::{
        models::Target,
        platform,
        record::{Format, Operation},
        snapshot::Upstream,
    },
};
use std::borrow::Cow;

/// What an upstream calls the model that a client asked for. `None`: nobody has said, so that the upstream
/// cannot serve the request.
pub fn model_at<'a>(client: Format, upstream: &Upstream, target: &'a Target, model: &'a str) -> Option<Cow<'a, str>> {
    if let Some(own) = &target.model {
        return Some(Cow::Borrowed(own));
    }
    platform::name_at(upstream.provider, &upstream.region, model, client == upstream.provider.format())
}

/// Writes path and query. Where nothing needs to be said differently, the client's own bytes.
pub fn write_target(out: &mut Vec<u8>, cx: &Exchange<'_>, routed: &Routed<'_>, upstream: &Upstream, asked: &Asked<'_>) {
    let (route, model) = (&routed.identified.incoming.route, &*asked.model);
    out.extend_from_slice(upstream.base_path.as_bytes());
    let path = cx.path().get(route.path.clone()).unwrap_or(b"/");
    let same = route.format == upstream.provider.format() && (!route.names_model() || routed.wrote(model));
    let stream = asked.streams(cx, routed);
    match upstream.provider.format() {
        Format::Anthropic if same => out.extend_from_slice(path),
        Format::Anthropic => out.extend_from_slice(match route.operation {
            Operation::CountTokens => b"/v1/messages/count_tokens",
            _ => b"/v1/messages",
        }),
        Format::Bedrock if same => out.extend_from_slice(path),
        Format::Bedrock => bedrock::paths::write(out, model, route.operation, stream),
        Format::Vertex => {
            if !upstream.base_path.ends_with("/v1") {
                out.extend_from_slice(b"/v1");
            }
            for part in ["/projects/", &upstream.project, "/locations/", &upstream.region] {
                out.extend_from_slice(part.as_bytes());
            }
            match vertex::paths::publisher(path).filter(|_| same) {
                Some(own) => out.extend_from_slice(own),
                None => vertex::paths::write(out, model, route.operation, stream),
            }
        }
    }
    let own = routed.sought.as_ref().and_then(|sought| sought.paging.as_ref());
    let query = own.map_or_else(|| cx.head.query.of(cx.bytes), |paging| &paging.query);
    // A query means nothing to the others, and would have to be signed.
    if !query.is_empty() && route.format == Format::Anthropic && upstream.provider.format() == Format::Anthropic {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}
