//! Page tokens: a place, bound to the question that it is a place in.

use super::error::ApiError;
use crate::kernel::keys::KeyDigest;

const PREFIX: &str = "page_";
/// Hexadecimal digits that say which question it is.
const BOUND: usize = 16;

/// Pages of the answer to one question.
pub(super) struct Cursor(String);

impl Cursor {
    /// `question` is everything that the answer depends on but the page and its size.
    pub fn of(question: &impl std::fmt::Debug) -> Self {
        let digest = KeyDigest::of(format!("{question:?}").as_bytes());
        Self(hex(&digest.0[..BOUND / 2]))
    }

    /// The token for a place.
    pub fn token(&self, place: &str) -> String {
        format!("{PREFIX}{}{}", self.0, hex(place.as_bytes()))
    }

    /// The place of a token.
    pub fn place(&self, token: &str) -> Result<String, ApiError> {
        let malformed =
            || ApiError::invalid("page: this is no page token; give `next_page` of the answer before, unchanged");
        let rest = token.strip_prefix(PREFIX).ok_or_else(malformed)?;
        let (bound, place) = rest.split_at_checked(BOUND).ok_or_else(malformed)?;
        if bound != self.0 {
            return Err(ApiError::invalid(
                "page: cursor does not match current query parameters; start at the first page",
            ));
        }
        let digits = place.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
