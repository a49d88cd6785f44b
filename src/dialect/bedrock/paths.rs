//! The paths of format B (contract.md §1.1, §1.2, §1.7). Split while raw: an ARN keeps its `%2F`.

use super::super::{NoRoute, Route, get, post, segment};
use crate::{
    kernel::record::{Format, Operation},
    wire::h1::Method,
};

const PREFIX: &[u8] = b"/bedrock";

/// Finds out what a request asks for.
pub fn route(method: Method, path: &[u8]) -> Result<Route, NoRoute> {
    let cut = match path.strip_prefix(PREFIX) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => PREFIX.len(),
        _ => 0,
    };
    let found = |operation, resource, stream| {
        Ok(Route { format: Format::Bedrock, operation, path: cut..path.len(), resource, stream })
    };
    let nothing = path.len()..path.len();
    let mut segments = path[cut..].split(|b| *b == b'/').skip(1);
    let (first, second, third, more) = (segments.next(), segments.next(), segments.next(), segments.next());
    match (first, second, third, more) {
        (None | Some(b""), None, None, None) => get(method).and_then(|()| found(Operation::Probe, nothing, None)),
        (Some(b"model"), Some(model), Some(verb), None) => {
            let (operation, stream) = match verb {
                b"invoke" => (Operation::Messages, false),
                b"invoke-with-response-stream" => (Operation::Messages, true),
                b"count-tokens" => (Operation::CountTokens, false),
                _ => return Err(NoRoute::Path),
            };
            let start = cut + b"/model/".len();
            segment::decode(model).ok_or(NoRoute::Path)?;
            post(method).and_then(|()| found(operation, start..start + model.len(), Some(stream)))
        }
        (Some(b"inference-profiles"), None, None, None) => {
            get(method).and_then(|()| found(Operation::Models, nothing, None))
        }
        (Some(b"inference-profiles"), Some(profile), None, None) if segment::decode(profile).is_some() => {
            get(method).and_then(|()| found(Operation::Models, path.len() - profile.len()..path.len(), None))
        }
        _ => Err(NoRoute::Path),
    }
}

/// Writes the path by which an upstream is asked for a model.
pub fn write(out: &mut Vec<u8>, model: &str, operation: Operation, stream: bool) {
    out.extend_from_slice(b"/model/");
    segment::encode(out, model);
    out.extend_from_slice(match (operation, stream) {
        (Operation::CountTokens, _) => b"/count-tokens",
        (_, true) => b"/invoke-with-response-stream",
        (_, false) => b"/invoke",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_in_the_path_is_one_segment() {
        let path = b"/bedrock/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.anthropic.claude-opus-5/invoke";
        let found = route(Method::Post, path).unwrap();
        assert_eq!((found.operation, found.stream), (Operation::Messages, Some(false)));
        assert_eq!(
            &path[found.resource],
            b"arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.anthropic.claude-opus-5"
        );
        assert!(path[found.path].starts_with(b"/model/arn"));
        let decoded = b"/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-5/invoke";
        assert_eq!(route(Method::Post, decoded), Err(NoRoute::Path));
    }

    #[test]
    fn what_only_looks_like_a_path_reaches_none() {
        for path in [
            "/model//invoke",
            "/model/%2e%2e/invoke",
            "/model/a%2F..%2Fb/invoke",
            "/model/x/invoke/",
            "//model/x/invoke",
            "/model/x/converse",
            "/model/x%2Finvoke",
            "/bedrockx/model/x/invoke",
            "/inference-profiles/a/b",
            "/inference-profiles/",
        ] {
            assert_eq!(route(Method::Post, path.as_bytes()), Err(NoRoute::Path), "{path}");
        }
        assert_eq!(route(Method::Get, b"/model/x/invoke"), Err(NoRoute::Method("POST")));
    }

    #[test]
    fn the_path_written_is_the_path_read() {
        for (operation, stream) in
            [(Operation::Messages, false), (Operation::Messages, true), (Operation::CountTokens, false)]
        {
            let mut path = Vec::new();
            let id = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0";
            write(&mut path, id, operation, stream);
            let found = route(Method::Post, &path).unwrap();
            assert_eq!((found.operation, found.stream), (operation, Some(stream)));
            assert_eq!(segment::decode(&path[found.resource]).as_deref(), Some(id));
        }
    }
}
