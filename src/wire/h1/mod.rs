//! HTTP/1.1: heads, framing decisions and the chunked coding, for both sides of the gateway.
//!
//! One framing decision per message: whatever two parties could read in two ways is refused here, so nothing behind
//! this module has to ask again how long a message is.

mod block;
mod chunked;
mod decimal;
mod error;
mod fields;
mod framing;
mod header;
mod known;
mod lines;
mod request;
mod response;
mod span;
mod start;

pub use chunked::{ChunkError, ChunkEvent, ChunkLimits, ChunkedScanner};
pub use decimal::decimal;
pub use error::HeadError;
pub use header::{Header, Headers, connection_names, header, header_all, names_headers};
pub use known::{Kinds, Known};
pub use lines::{HEADERS_MAX, HeadLimits, Progress};
pub use request::{Method, RequestBody, RequestHead, RequestParser};
pub use response::{ResponseBody, ResponseHead, ResponseParser};
pub use span::Span;

#[cfg(test)]
mod tests;
