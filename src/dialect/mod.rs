//! The API formats: paths and operations, error bodies, usage rules. Pure: bytes and values in, values out.
//!
//! One folder per format, with the same files in each: `paths` (what a request asks for), `errors` (how a fault is said),
//! and in `anthropic` the `usage` (how an answer tells what it used), which is the same in all of them; `bridge` says in one
//! format what was said in another. Deliberately absent: anything that decides; a dialect only translates.

pub mod answer;
pub mod anthropic;
pub mod aws;
pub mod bedrock;
pub mod bridge;
pub mod errors;
pub mod headers;
pub mod refused;
pub mod retry_after;
pub mod segment;
pub mod vertex;

use crate::{
    kernel::record::{Format, Operation},
    wire::h1::Method,
};
use std::ops::Range;

/// What a request asks for, read off its method and raw path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which format the path belongs to.
    pub format: Format,
    /// What is asked.
    pub operation: Operation,
    /// The part of the raw path that goes to an upstream of the same format: our own prefix is cut off.
    pub path: Range<usize>,
    /// A resource named in the path, still encoded: a model, or an inference profile. Empty without one.
    pub resource: Range<usize>,
    /// Whether the answer is to be a stream, where the path says so.
    pub stream: Option<bool>,
}

impl Route {
    /// Is the model named in the path? Else in the body.
    pub fn names_model(&self) -> bool {
        self.format != Format::Anthropic && !self.resource.is_empty()
    }
}

/// Why a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path.
    Path,
    /// The path exists, but not with this method; these are allowed.
    Method(&'static str),
}

/// Finds out what a request asks for. The raw path is matched, never a decoded one (law 9).
pub fn route(method: Method, path: &[u8]) -> Result<Route, NoRoute> {
    match format_of(path) {
        Format::Anthropic => anthropic::paths::route(method, path),
        Format::Bedrock => bedrock::paths::route(method, path),
        Format::Vertex => vertex::paths::route(method, path),
    }
}

/// The format a path belongs to, by its beginning alone: what leads nowhere there is refused in that format too.
pub fn format_of(path: &[u8]) -> Format {
    if path.starts_with(b"/v1/messages") {
        return Format::Anthropic;
    }
    let under = |prefix: &[u8]| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    if under(b"/bedrock") || under(b"/model") || under(b"/inference-profiles") {
        Format::Bedrock
    } else if under(b"/vertex_ai") || under(b"/vertex") || under(b"/projects") || under(b"/v1/projects") {
        Format::Vertex
    } else {
        Format::Anthropic
    }
}

/// Is it POST?
fn post(method: Method) -> Result<(), NoRoute> {
    if method == Method::Post { Ok(()) } else { Err(NoRoute::Method("POST")) }
}

/// Is it GET, or HEAD?
fn get(method: Method) -> Result<(), NoRoute> {
    if matches!(method, Method::Get | Method::Head) { Ok(()) } else { Err(NoRoute::Method("GET, HEAD")) }
}
