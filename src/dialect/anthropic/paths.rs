//! The paths of format A (contract.md §1.1 to §1.4). The raw path is matched, never a decoded one (law 9).

use super::super::{NoRoute, Route, get, post};
use crate::{
    kernel::record::{Format, Operation},
    wire::h1::Method,
};

/// Where format A is spoken besides the root. A Foundry client's own base ends in `/anthropic`.
const PREFIXES: [&[u8]; 4] = [b"/anthropic-aws", b"/anthropic", b"/foundry/anthropic", b"/foundry"];

const BATCHES: &[u8] = b"/v1/messages/batches";
const FILES: &[u8] = b"/v1/files";
/// An id of a batch or a file. Bytes.
const ID_BYTES_MAX: usize = 64;

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
        _ if local.starts_with(BATCHES) || local.starts_with(FILES) => object(method, path, cut),
        _ => match local.strip_prefix(b"/v1/models/") {
            Some(id) if !id.is_empty() && !id.contains(&b'/') => {
                get(method).and_then(|()| found(Operation::Models, path.len() - id.len()..path.len()))
            }
            _ => Err(NoRoute::Path),
        },
    }
}

/// The paths of batches and files.
fn object(method: Method, path: &[u8], cut: usize) -> Result<Route, NoRoute> {
    use Operation::{
        BatchCancel, BatchCreate, BatchDelete, BatchGet, BatchList, BatchResults, FileContent, FileDelete, FileGet,
        FileList, FileUpload,
    };
    let local = path.get(cut..).unwrap_or_default();
    let (rest, batch) = match local.strip_prefix(BATCHES) {
        Some(rest) => (rest, true),
        None => (local.strip_prefix(FILES).unwrap_or_default(), false),
    };
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b"/").ok_or(NoRoute::Path)? };
    let (id, verb) = match rest.iter().position(|b| *b == b'/') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let local_has_more = local.len() > if batch { BATCHES.len() } else { FILES.len() };
    if local_has_more && !is_id(id) {
        return Err(NoRoute::Path);
    }
    let of = |get: Operation, post: Option<Operation>, delete: Option<Operation>, allowed| match method {
        Method::Get => Ok(get),
        Method::Post => post.ok_or(NoRoute::Method(allowed)),
        Method::Delete => delete.ok_or(NoRoute::Method(allowed)),
        _ => Err(NoRoute::Method(allowed)),
    };
    let operation = match (id.is_empty(), verb, batch) {
        (true, _, true) => of(BatchList, Some(BatchCreate), None, "GET, POST")?,
        (true, _, false) => of(FileList, Some(FileUpload), None, "GET, POST")?,
        (_, None, true) => of(BatchGet, None, Some(BatchDelete), "GET, DELETE")?,
        (_, None, false) => of(FileGet, None, Some(FileDelete), "GET, DELETE")?,
        (_, Some(b"results"), true) => of(BatchResults, None, None, "GET")?,
        (_, Some(b"content"), false) => of(FileContent, None, None, "GET")?,
        (_, Some(b"cancel"), true) => post(method).map(|()| BatchCancel)?,
        _ => return Err(NoRoute::Path),
    };
    let from = path.len() - rest.len();
    let resource = from..from + id.len();
    Ok(Route { format: Format::Anthropic, operation, path: cut..path.len(), resource, stream: None })
}

/// Ids are opaque, but they are words, and no longer than a record keeps them.
fn is_id(id: &[u8]) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.iter().all(word)
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
    fn a_batch_or_a_file_is_asked_for_by_a_path_that_only_looks_like_it() {
        use Operation::{BatchCancel, BatchCreate, BatchDelete, BatchResults, FileContent, FileGet, FileList};
        let asked = |method, path: &'static str| {
            let found = route(method, path.as_bytes()).map(|r| (r.operation, &path[r.resource]));
            found.map_err(|no| no == NoRoute::Path)
        };
        assert_eq!(asked(Method::Post, "/v1/messages/batches"), Ok((BatchCreate, "")));
        assert_eq!(asked(Method::Post, "/anthropic/v1/messages/batches/b_1/cancel"), Ok((BatchCancel, "b_1")));
        assert_eq!(asked(Method::Get, "/v1/messages/batches/b_1/results"), Ok((BatchResults, "b_1")));
        assert_eq!(asked(Method::Delete, "/v1/messages/batches/b-1"), Ok((BatchDelete, "b-1")));
        assert_eq!(asked(Method::Get, "/v1/files"), Ok((FileList, "")));
        assert_eq!(asked(Method::Get, "/v1/files/file_1"), Ok((FileGet, "file_1")));
        assert_eq!(asked(Method::Get, "/v1/files/file_1/content"), Ok((FileContent, "file_1")));
        for path in [
            "/v1/messages/batchesx",
            "/v1/messages/batches/",
            "/v1/messages/batches//results",
            "/v1/messages/batches/b_1/results/",
            "/v1/messages/batches/b_1/content",
            "/v1/messages/batches/..",
            "/v1/files/a%2Fb",
            "/v1/files/f/cancel",
            "/v1/filesystem",
        ] {
            assert_eq!(asked(Method::Get, path), Err(true), "{path}");
        }
        assert_eq!(asked(Method::Delete, "/v1/messages/batches"), Err(false));
        assert_eq!(asked(Method::Get, "/v1/messages/batches/b/cancel"), Err(false));
        assert_eq!(asked(Method::Post, "/v1/messages/batches/b/results"), Err(false));
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
