//! The paths of format C (contract.md §1.1, §1.6): `[/v1]/projects/P/locations/L/publishers/anthropic/models/M:METHOD`.

use super::super::{NoRoute, Route, get, post, segment};
use crate::{
    kernel::record::{Format, Operation},
    wire::h1::Method,
};

const PREFIXES: [&[u8]; 2] = [b"/vertex_ai", b"/vertex"];
/// The place of a model where tokens are only counted; the model is named in the body.
const COUNTING: &[u8] = b"count-tokens";
/// Methods, with a raw colon and with both spellings of an encoded one.
const METHODS: [(&[u8], bool); 6] = [
    (b":rawPredict", false),
    (b":streamRawPredict", true),
    (b"%3ArawPredict", false),
    (b"%3AstreamRawPredict", true),
    (b"%3arawPredict", false),
    (b"%3astreamRawPredict", true),
];

/// Finds out what a request asks for. Whose project and which location the client wrote is its own matter: an upstream has
/// its own.
pub fn route(method: Method, path: &[u8]) -> Result<Route, NoRoute> {
    let after = |rest: &[u8]| rest.is_empty() || rest.starts_with(b"/");
    let mut cut =
        PREFIXES.iter().find_map(|p| path.strip_prefix(*p).filter(|r| after(r)).map(|_| p.len())).unwrap_or(0);
    if path[cut..].strip_prefix(b"/v1").is_some_and(after) {
        cut += b"/v1".len();
    }
    let found = |operation, resource, stream| {
        Ok(Route { format: Format::Vertex, operation, path: cut..path.len(), resource, stream })
    };
    let nothing = path.len()..path.len();
    let local = &path[cut..];
    if local.is_empty() || local == b"/" {
        return get(method).and_then(|()| found(Operation::Probe, nothing, None));
    }
    let mut segments = local.split(|b| *b == b'/').skip(1);
    let mut next = || segments.next().unwrap_or_default();
    let named = |segment: &[u8]| segment::decode(segment).is_some();
    let sound = next() == b"projects" && named(next()) && next() == b"locations" && named(next());
    let sound = sound && next() == b"publishers" && next() == b"anthropic" && next() == b"models";
    let last = next();
    if !sound || segments.next().is_some() {
        return Err(NoRoute::Path);
    }
    let (model, stream) = METHODS
        .iter()
        .find_map(|(suffix, stream)| Some((last.strip_suffix(*suffix)?, *stream)))
        .filter(|(model, _)| named(model))
        .ok_or(NoRoute::Path)?;
    post(method)?;
    if model == COUNTING {
        return if stream { Err(NoRoute::Path) } else { found(Operation::CountTokens, nothing, Some(false)) };
    }
    let start = path.len() - last.len();
    found(Operation::Messages, start..start + model.len(), Some(stream))
}

/// The part of a path behind project and location.
pub fn publisher(path: &[u8]) -> Option<&[u8]> {
    memchr::memmem::find(path, b"/publishers/").and_then(|at| path.get(at..))
}

/// Writes the path by which an upstream is asked for a model, behind its project and location.
pub fn write(out: &mut Vec<u8>, model: &str, operation: Operation, stream: bool) {
    out.extend_from_slice(b"/publishers/anthropic/models/");
    if operation == Operation::CountTokens {
        out.extend_from_slice(b"count-tokens:rawPredict");
        return;
    }
    segment::encode(out, model);
    out.extend_from_slice(if stream { b":streamRawPredict" } else { b":rawPredict" });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "/projects/p-1/locations/us-east5/publishers/anthropic/models/";

    #[test]
    fn every_base_and_both_spellings_of_a_date_lead_to_the_model() {
        for base in ["", "/v1", "/vertex", "/vertex/v1", "/vertex_ai", "/vertex_ai/v1"] {
            for (written, stream) in [("claude-haiku-4-5@20251001", false), ("claude-haiku-4-5%4020251001", true)] {
                let verb = if stream { "streamRawPredict" } else { "rawPredict" };
                let path = format!("{base}{TAIL}{written}:{verb}");
                let found = route(Method::Post, path.as_bytes()).unwrap();
                assert_eq!((found.operation, found.stream), (Operation::Messages, Some(stream)), "{path}");
                assert_eq!(&path[found.resource.clone()], written);
                assert!(found.names_model() && path[found.path].starts_with("/projects/"));
            }
            let path = format!("{base}{TAIL}count-tokens:rawPredict");
            let found = route(Method::Post, path.as_bytes()).unwrap();
            assert_eq!(found.operation, Operation::CountTokens);
            assert!(!found.names_model());
        }
    }

    #[test]
    fn what_only_looks_like_a_path_reaches_none() {
        for last in [
            "claude-x",
            "claude-x:predict",
            ":rawPredict",
            "..:rawPredict",
            "%2e%2e:rawPredict",
            "a/b:rawPredict",
            "claude-x:rawPredict/",
            "count-tokens:streamRawPredict",
        ] {
            assert_eq!(route(Method::Post, format!("{TAIL}{last}").as_bytes()), Err(NoRoute::Path), "{last}");
        }
        for path in [
            "/projects//locations/l/publishers/anthropic/models/x:rawPredict",
            "/projects/p/locations/%2e%2e/publishers/anthropic/models/x:rawPredict",
            "/projects/p/locations/l/publishers/google/models/x:rawPredict",
            "/vertex_ai/v2/projects/p/locations/l/publishers/anthropic/models/x:rawPredict",
        ] {
            assert_eq!(route(Method::Post, path.as_bytes()), Err(NoRoute::Path), "{path}");
        }
        assert_eq!(route(Method::Get, format!("{TAIL}x:rawPredict").as_bytes()), Err(NoRoute::Method("POST")));
    }
}
