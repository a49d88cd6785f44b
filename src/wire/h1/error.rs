//! Why a head was refused: one variant per cause, each with the status and the sentence the client gets.

use std::fmt;

/// A head that must not be served. The connection is closed after the answer, because where the next message starts
/// is no longer certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// The status line is not `version SP 3DIGIT SP reason`, or its code lies outside 100..=599.
    StatusLine,
    /// The method is not a token, or longer than any method in use.
    MethodName,
    /// CONNECT or TRACE.
    MethodRefused,
    /// Neither HTTP/1.0 nor HTTP/1.1; the HTTP/2 preface lands here.
    Version,
    /// The request target is longer than the limit.
    TargetTooLong,
    /// The request target is in no form served here, or holds a byte that must be percent-encoded.
    Target,
    /// The head is longer than the limit.
    HeadTooLong,
    /// More header lines than the limit.
    TooManyHeaders,
    /// A line ends in LF without CR.
    BareLineFeed,
    /// A header line starts with white space (obsolete line folding).
    FoldedHeader,
    /// A header name is empty, not a token, or followed by white space.
    HeaderName,
    /// A header value holds a control character, NUL or a bare CR.
    HeaderValue,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// `Host` holds a byte no host name has.
    HostInvalid,
    /// More than one `Content-Length`, even when they agree.
    LengthRepeated,
    /// `Content-Length` is not a plain decimal number that fits 64 bits.
    LengthInvalid,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthWithCoding,
    /// More than one `Transfer-Encoding`, or one that does not end in a single `chunked`.
    CodingAmbiguous,
    /// A well-formed transfer coding other than plain `chunked`.
    CodingUnknown,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    CodingBeforeHttp11,
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
}

impl HeadError {
    /// The status of the answer. A response head's errors are the upstream's fault: there the caller answers 502.
    pub fn status(&self) -> u16 {
        match self {
            Self::MethodRefused => 405,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLong | Self::TooManyHeaders => 431,
            Self::CodingUnknown => 501,
            Self::StatusLine => 502,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// What is wrong and what to do about it, as a sentence for the client. Never quotes the request.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is malformed: send `METHOD /path HTTP/1.1`",
            Self::StatusLine => "the status line is malformed",
            Self::MethodName => "the request method is malformed",
            Self::MethodRefused => "this method is not served here",
            Self::Version => "this HTTP version is not served here: use HTTP/1.1",
            Self::TargetTooLong => "the request target is too long",
            Self::Target => "the request target must be a path starting with `/`, with other bytes percent-encoded",
            Self::HeadTooLong => "the message head is too long: send fewer or shorter headers",
            Self::TooManyHeaders => "the message has too many headers",
            Self::BareLineFeed => "a line of the message head ends in LF alone: end lines in CRLF",
            Self::FoldedHeader => "a header is folded over several lines: send it on one line",
            Self::HeaderName => "a header name is malformed: use token characters and no space before the colon",
            Self::HeaderValue => "a header value or line end holds a control character",
            Self::HostMissing => "the Host header is missing",
            Self::HostRepeated => "the Host header occurs more than once",
            Self::HostInvalid => "the Host header is not a host name with an optional port",
            Self::LengthRepeated => "the Content-Length header occurs more than once",
            Self::LengthInvalid => "the Content-Length header is not a decimal number",
            Self::LengthWithCoding => "Content-Length and Transfer-Encoding must not be sent together",
            Self::CodingAmbiguous => "Transfer-Encoding must occur once and be `chunked`",
            Self::CodingUnknown => "this transfer coding is not supported: send `chunked` alone",
            Self::CodingBeforeHttp11 => "Transfer-Encoding needs HTTP/1.1",
            Self::Expectation => "this expectation is not supported: only `100-continue` is",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HeadError {}

impl From<httparse::Error> for HeadError {
    /// The start line is checked before httparse's verdict is read, so its three start-line causes fall together.
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::HeaderName,
            httparse::Error::HeaderValue | httparse::Error::NewLine => Self::HeaderValue,
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::Version,
            httparse::Error::Status => Self::StatusLine,
            httparse::Error::Token => Self::RequestLine,
        }
    }
}
