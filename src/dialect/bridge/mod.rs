//! Between formats (contract.md §6): what a request must say in another format, and what an answer says in the client's.
//!
//! Requests are edited, never printed anew: members are cut out and put in at the top level of the body, everything else stays
//! the client's own bytes in the client's own order, because prompt caches and the check of preserved thinking depend on them.
//! Where a format has no word for what was asked: a wish that changes only how the provider runs it is dropped, and said
//! (`Bridged::dropped`); one that changes what the answer means is refused.
//!
//! | | Anthropic | Bedrock | Vertex |
//! |---|---|---|---|
//! | model | body | path | path (body, where tokens are counted) |
//! | stream | body | path | path and body |
//! | version | header | body | body |
//! | betas | header | body | header |
//! | stream of the answer | SSE | frames | SSE |

mod betas;
mod count;
mod errors;
mod fields;
mod frames;
mod members;
mod request;
mod sse;
#[cfg(test)]
mod tests;
mod text;
mod without;

pub use count::{answer as counted, model as counting_model};
pub use errors::{Said, translate};
pub use frames::FramesToSse;
pub use request::{Ask, BridgeError, Bridged, bridge};
pub use sse::SseToFrames;
pub use text::Text;
pub use without::{Without, present, without};

/// A replacement of raw bytes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The first byte that goes.
    pub from: u64,
    /// The first byte behind that stays; the same as `from` where nothing goes.
    pub to: u64,
    /// What stands there instead.
    pub text: Vec<u8>,
}

/// A stream's upstream sends what cannot be said in the client's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;
