//! Holds what the clients saw against the provider's books.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address_of;
use super::response::Response;
use crate::loadtest::provider::{Books, Outcome};

/// Longest wait for the provider's books.
const BOOKS_DEADLINE: Duration = Duration::from_secs(30);

/// One whole answer as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The `request-id` of the answer.
    pub request_id: String,
    /// SHA-256 of the body that was sent, in hex.
    pub request_sha256: String,
    /// SHA-256 of the payload that was received, in hex.
    pub response_sha256: String,
    /// Bytes of that payload.
    pub response_bytes: u64,
}

impl Seen {
    pub(super) fn new(request_id: String, request: &[u8], response: &[u8], response_bytes: u64) -> Seen {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Seen { request_id, request_sha256: hex(request), response_sha256: hex(response), response_bytes }
    }
}

/// What of a book entry matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct BookLine {
    request_id: String,
    request_sha256: String,
    response_sha256: String,
    outcome: String,
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Answers whose bytes were the same on both sides, both ways.
    pub matched: u64,
    /// Differences by kind.
    pub faults: BTreeMap<String, u64>,
}

impl Verdict {
    /// Whether nothing differed.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// The verdict for people.
    pub fn text(&self) -> String {
        let mut out = format!("verified: {} answers the same on both sides, both ways\n", self.matched);
        for (kind, count) in &self.faults {
            out.push_str(&format!("differs     {kind}: {count}\n"));
        }
        out
    }
}

/// Compares clients' views with the provider's.
pub fn check(seen: &[Seen], lines: &[BookLine]) -> Verdict {
    let by_id: HashMap<&str, &BookLine> = lines.iter().map(|line| (line.request_id.as_str(), line)).collect();
    let mut verdict = Verdict::default();
    for one in seen {
        let fault = match by_id.get(one.request_id.as_str()) {
            None if one.request_id.is_empty() => Some("answer without request-id"),
            None => Some("answer that the provider does not know"),
            Some(line) if line.request_sha256 != one.request_sha256 => Some("request body changed on the way"),
            Some(line) if line.response_sha256 != one.response_sha256 => Some("response body changed on the way"),
            Some(line) if line.outcome != "completed" => Some("whole answer that the provider does not call completed"),
            Some(_) => None,
        };
        match fault {
            None => verdict.matched += 1,
            Some(kind) => *verdict.faults.entry(kind.to_owned()).or_default() += 1,
        }
    }
    verdict
}

/// The lines of books in this process.
pub fn lines_of(books: Books) -> Vec<BookLine> {
    let outcome = |outcome| match outcome {
        Outcome::Completed => "completed",
        Outcome::ClientGone => "client_gone",
        Outcome::Faulted => "faulted",
    };
    let line = |entry: crate::loadtest::provider::Entry| BookLine {
        request_id: entry.request_id,
        request_sha256: entry.request_sha256,
        response_sha256: entry.response_sha256,
        outcome: outcome(entry.outcome).to_owned(),
    };
    books.entries.into_iter().map(line).collect()
}

#[derive(Debug, Deserialize)]
struct FetchedBooks {
    last_index: u64,
    entries: Vec<BookLine>,
}

/// Fetches the lines after `since` from a provider in another process, and the newest index. Blocks the thread.
///
/// # Errors
/// When the provider does not answer, or not with books.
pub fn fetch(provider: &str, since: u64) -> Result<(Vec<BookLine>, u64), String> {
    let addr = address_of(provider)?;
    let body =
        fetch_bytes(addr, since).map_err(|error| format!("cannot read the provider's books at {addr}: {error}"))?;
    let books: FetchedBooks = serde_json::from_slice(&body).map_err(|e| format!("no books at {addr}: {e}"))?;
    Ok((books.entries, books.last_index))
}

fn fetch_bytes(addr: &str, since: u64) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(BOOKS_DEADLINE))?;
    let request = format!("GET /sim/books?since={since} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let mut response = Response::new(false);
    let whole = response.feed(&bytes).is_ok() && response.closed() && response.status == 200;
    let length = response.payload_bytes as usize;
    if whole { Ok(bytes.split_off(bytes.len() - length)) } else { Err(std::io::Error::other("not a whole answer")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: &str, request: u8, response: u8) -> Seen {
        Seen::new(id.into(), &[request], &[response], 1)
    }

    fn line(id: &str, request: &str, response: &str, outcome: &str) -> BookLine {
        BookLine {
            request_id: id.into(),
            request_sha256: request.into(),
            response_sha256: response.into(),
            outcome: outcome.into(),
        }
    }

    #[test]
    fn changed_body_passes() {
        let lines = [line("a", "01", "02", "completed"), line("b", "01", "02", "client_gone")];
        let all = [seen("a", 1, 2), seen("a", 9, 2), seen("a", 1, 9), seen("b", 1, 2), seen("c", 1, 2), seen("", 1, 2)];
        let verdict = check(&all, &lines);
        assert_eq!(verdict.matched, 1);
        assert_eq!(verdict.faults.values().copied().collect::<Vec<_>>(), [1, 1, 1, 1, 1]);
    }
}
