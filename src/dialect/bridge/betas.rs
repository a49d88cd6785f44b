//! `anthropic-beta`: a header in two formats, a list in the body of the third (contract.md §3.1, §6.2).

use crate::kernel::record::Format;

/// Betas of the first party's own services, whose fields weir takes out or whose features no cloud has; an unknown flag is a 400
/// there (`invalid beta flag`). Any other goes on, known here or not.
const FIRST_PARTY: [&str; 18] = [
    "oauth-",
    "mcp-client-",
    "fast-mode-",
    "server-side-fallback-",
    "fallback-credit-",
    "user-profiles-",
    "managed-agents-",
    "message-threads-",
    "message-batches-",
    "webhooks-",
    "request-tags-",
    "files-api-",
    "skills-",
    "code-execution-",
    "advisor-tool-",
    "agent-memory-",
    "prompt-caching-scope-",
    "cache-diagnosis-",
];
/// Structured outputs, which Bedrock does not take; their field is taken out too.
const NOT_ON_BEDROCK: &str = "structured-outputs-";

/// The betas of header lines and of a list in the body, in order, each once.
pub(super) fn merged<'a>(headers: &[&'a [u8]], listed: &'a [String]) -> Vec<&'a str> {
    let told = headers.iter().flat_map(|line| line.split(|b| *b == b','));
    let told = told.filter_map(|value| std::str::from_utf8(value.trim_ascii()).ok());
    let mut all = Vec::new();
    for beta in told.chain(listed.iter().map(String::as_str)).filter(|beta| !beta.is_empty()) {
        if !all.contains(&beta) {
            all.push(beta);
        }
    }
    all
}

/// May this beta go to an upstream of a format?
pub(super) fn goes_to(format: Format, beta: &str) -> bool {
    match format {
        Format::Anthropic => true,
        Format::Bedrock if beta.starts_with(NOT_ON_BEDROCK) => false,
        Format::Vertex if beta.starts_with("fast-mode-") => true,
        _ => !FIRST_PARTY.iter().any(|start| beta.starts_with(start)),
    }
}

/// Can it stand in a header line? A list from a body could hold anything.
pub(super) fn fits_header(beta: &str) -> bool {
    beta.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}
