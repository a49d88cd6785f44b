//! The paths of format A (contract.md §1.1 to §1.4). The raw path is matched, never a decoded one (law 9).

use super::super::{NoRoute, Route, get, post};
use crate::{
    kernel::record::{Format, Operation},
    wire::h1::Method,
};

/// Where format A is spoken besides the root. A Foundry client's own base ends in `/anthropic`.
const PREFIXES: [&[u8]; 4] = [b"/anthropic-aws", b"/anthropic", b"/foundry/anthropic", b"/foundry"];

/// Finds out what a request asks for.
pub fn route(method: Method, path: &[u8]) -> Result<Route, NoRoute> {
    let cut = if path.starts_with(b"/v1/") { 0 } else { prefix_len(path) };
    let local = &path[cut..];
    let found = |operation, resource| {
        Ok(Route { format: Format::Anthropic, operation, path: cut..path.len(), resource, stream: None })
    };
    let nothing = path.len()..path.len();
    match local {
        b"/v1/messages" => post(method).and_then(|()| found(Operation::Messages, nothing)),
        b"/v1/messages/count_tokens" => post(method).and_then(|()| found(Operation::CountTokens, nothing)),
        b"/v1/models" => get(method).and_then(|()| found(Operation::Models, nothing)),
        b"/api/oauth/usage" => get(method).and_then(|()| found(Operation::Usage, nothing)),
        b"" | b"/" | b"/api/hello" => get(method).and_then(|()| found(Operation::Probe, nothing)),
        _ => match local.strip_prefix(b"/v1/models/") {
            Some(id) if !id.is_empty() && !id.contains(&b'/') => {
                get(method).and_then(|()| found(Operation::Models, path.len() - id.len()..path.len()))
            }
            _ => Err(NoRoute::Path),
        },
    }
}

fn prefix_len(path: &[u8]) -> usize {
    let ours =
        |prefix: &&&[u8]| path.strip_prefix(**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    PREFIXES.iter().find(ours).map_or(0, |prefix| prefix.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_or_doubled_slash_reaches_no_path_it_only_looks_like() {
        for path in [
            "/v1/messages/",
            "//v1/messages",
            "/v1%2Fmessages",
            "/anthropicx/v1/messages",
            "/v1/models/",
            "/v1/models/a/b",
        ] {
            assert_eq!(route(Method::Post, path.as_bytes()), Err(NoRoute::Path), "{path}");
        }
    }

    #[test]
    fn our_prefix_does_not_go_upstream() {
        let path = b"/anthropic/v1/messages";
        let found = route(Method::Post, path).unwrap();
        assert_eq!(&path[found.path], b"/v1/messages");
        for path in ["/foundry/v1/messages", "/foundry/anthropic/v1/messages", "/anthropic-aws/v1/messages"] {
            let found = route(Method::Post, path.as_bytes()).unwrap();
            assert_eq!(&path[found.path], "/v1/messages");
        }
        let path = b"/anthropic/v1/models/claude-opus-5";
        let found = route(Method::Get, path).unwrap();
        assert_eq!(&path[found.resource], b"claude-opus-5");
        assert_eq!(route(Method::Get, b"/v1/messages"), Err(NoRoute::Method("POST")));
        assert_eq!(route(Method::Head, b"/api/hello").unwrap().operation, Operation::Probe);
    }
}
