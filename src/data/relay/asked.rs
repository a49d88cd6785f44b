//! What an upstream is asked: everything of a request but who asks. In the client's own format that is the client's own bytes,
//! but for the model's name. In another format the whole body is awaited, since what must be moved or left out may stand
//! anywhere in it, and then it is edited (`dialect::bridge`); the parts stay where they are.

use super::{
    edits::Edits,
    repair::{self, Repaired},
    target::model_at,
};
use crate::{
    data::{
        edge::incoming::Exchange,
        gate::{Routed, admit::whole_body},
    },
    dialect::bridge::{self, Ask, Text},
    kernel::{
        fault::{Fault, FaultKind, Room},
        models::Target,
        record::Operation,
        repairs::{self, Named},
        snapshot::Upstream,
    },
    wire::h1::{Kinds, Known, header, header_all},
};
use std::borrow::Cow;

/// A request as one upstream gets it.
pub struct Asked<'a> {
    /// The upstream's name for the model.
    pub model: Cow<'a, str>,
    /// What changes in the body.
    pub edits: Edits,
    /// What was said anew, where the upstream speaks another format. Boxed, here and below: a stream has this for long.
    pub bridged: Option<Box<Bridging>>,
    /// What was left out, where the upstream refuses it and speaks the client's format.
    pub repaired: Option<Box<Repaired>>,
}

/// A request in another format than its client's.
pub struct Bridging {
    /// Header lines in place of the client's version and betas.
    pub lines: Vec<u8>,
    /// The answer is to be a stream.
    pub stream: bool,
    /// Bytes of the body as it goes up.
    pub bytes: u64,
    /// What the upstream has no word for; the client is told.
    pub dropped: String,
}

/// Says a request in the upstream's format.
pub async fn asked<'a>(
    cx: &Exchange<'_>,
    routed: &'a Routed<'_>,
    upstream: &'a Upstream,
    target: &'a Target,
) -> Result<Asked<'a>, Fault> {
    let route = &routed.identified.incoming.route;
    let model = model_at(route.format, upstream, target, &routed.model).unwrap_or(Cow::Borrowed(&routed.model));
    let known = repair::known(cx, routed, upstream, &model);
    if route.format == upstream.provider.format() {
        let edits = own_name(routed, &model);
        if known.is_empty() {
            return Ok(Asked { edits, model, bridged: None, repaired: None });
        }
        let (edits, repaired) = Box::pin(repair::repaired(cx, route.format, edits, &known)).await?;
        return Ok(Asked { edits, model, bridged: None, repaired });
    }
    Box::pin(bridged(cx, routed, upstream, model, &known)).await
}

/// The edit that a target needs: its own model id in place of what the client wrote.
fn own_name(routed: &Routed<'_>, model: &str) -> Edits {
    match routed.model_at.filter(|_| !routed.wrote(model)) {
        Some((from, to)) => Edits::one(from, to, serde_json::Value::from(model).to_string().as_bytes()),
        None => Edits::default(),
    }
}

async fn bridged<'a>(
    cx: &Exchange<'_>,
    routed: &'a Routed<'_>,
    upstream: &Upstream,
    model: Cow<'a, str>,
    known: &[repairs::Known],
) -> Result<Asked<'a>, Fault> {
    let theirs = options_of_bedrock(cx)?;
    if !cx.pipe.is_ended() {
        whole_body(cx).await?;
    }
    let Some(parts) = cx.pipe.whole() else {
        let text = "this gateway keeps too many request bodies at the moment; try again";
        return Err(Fault::new(Room::Relay, FaultKind::Overloaded, text));
    };
    let route = &routed.identified.incoming.route;
    let model = match route.operation {
        Operation::CountTokens => Cow::Owned(bridge::counting_model(upstream.provider, &model).into_owned()),
        _ => model,
    };
    let betas: Vec<&[u8]> = header_all(cx.bytes, &cx.head.headers, Known::AnthropicBeta).collect();
    let refused: Vec<Named> = known.iter().map(|known| known.named.clone()).collect();
    let ask = Ask {
        from: route.format,
        to: upstream.provider.format(),
        operation: route.operation,
        model: &model,
        stream: route.stream,
        version: header(cx.bytes, &cx.head.headers, Known::AnthropicVersion),
        betas: &betas,
        refused: &refused,
    };
    let pieces: Vec<&[u8]> = parts.iter().map(|part| part.bytes()).collect();
    let said =
        bridge::bridge(Text(&pieces), &ask).map_err(|error| Fault::new(Room::Relay, FaultKind::BadBody, error.0))?;
    let mut dropped = said.dropped;
    repair::count(cx, known, &dropped);
    dropped.extend(theirs);
    if !dropped.is_empty() {
        tracing::debug!(request = %cx.id, upstream = %upstream.name, dropped = dropped.join(","), "bridged");
    }
    let edits = Edits::of(&said.edits);
    let bytes = cx.pipe.received().saturating_add_signed(edits.growth());
    // Betas are the client's words and go into a header line of ours.
    let clean = |name: &String| name.bytes().all(|b| b.is_ascii_graphic());
    let dropped: Vec<String> = dropped.into_iter().filter(clean).collect();
    let bridging = Bridging { lines: said.lines, stream: said.stream, bytes, dropped: dropped.join(",") };
    Ok(Asked { model, edits, bridged: Some(bridging.into()), repaired: None })
}

/// The options that a client of Bedrock has put in headers, and that nobody else knows.
///
/// # Errors
/// A guardrail decides what may be answered: without it the request would be another one.
fn options_of_bedrock(cx: &Exchange<'_>) -> Result<Vec<String>, Fault> {
    /// What describes body and answer, which are said anew.
    const SAID_ANEW: [&str; 2] = ["x-amzn-bedrock-accept", "x-amzn-bedrock-content-type"];
    let names = cx.head.headers.iter().filter(|header| header.known == Known::XAmznAny);
    let names = names.map(|header| String::from_utf8_lossy(header.name.of(cx.bytes)).to_ascii_lowercase());
    let options: Vec<String> =
        names.filter(|name| name.starts_with("x-amzn-bedrock-") && !SAID_ANEW.contains(&&**name)).collect();
    match options.iter().find(|name| name.starts_with("x-amzn-bedrock-guardrail")) {
        Some(name) => {
            let text = format!("{name}: this model is served by an upstream that does not have guardrails");
            Err(Fault::new(Room::Relay, FaultKind::BadBody, text))
        }
        None => Ok(options),
    }
}

impl Asked<'_> {
    /// Is the answer to be a stream?
    pub fn streams(&self, cx: &Exchange<'_>, routed: &Routed<'_>) -> bool {
        self.bridged.as_ref().map_or_else(|| routed.streams(cx), |bridging| bridging.stream)
    }

    /// Those of the client's headers that the upstream gets. What was said anew is not said twice, and an answer that must be read
    /// between formats is not asked for in a client's own terms.
    pub fn kept(&self, kinds: Kinds) -> Kinds {
        const SAID_ANEW: [Known; 4] =
            [Known::AnthropicVersion, Known::AnthropicBeta, Known::ContentEncoding, Known::XAmznAny];
        if self.bridged.is_some() {
            return SAID_ANEW.into_iter().fold(kinds, Kinds::without);
        }
        match self.repaired.as_ref().and_then(|repaired| repaired.line.as_ref()) {
            Some(_) => kinds.without(Known::AnthropicBeta),
            None => kinds,
        }
    }
}
