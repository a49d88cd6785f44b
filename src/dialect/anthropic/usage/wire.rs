//! `usage` as it stands on the wire; every field may be absent or null.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::borrow::Cow;

/// No answer uses more than this; a provider that says so is mistaken, and must not overflow the books. Tokens.
pub(super) const TOKENS_MAX: u64 = 1 << 40;

fn clamped<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<u64>::deserialize(from)?.map(|tokens| tokens.min(TOKENS_MAX)))
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    Ok(Option::<Cow<'de, str>>::deserialize(from)?.map(|word| Word::of(word.as_bytes())))
}

/// The words that change a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Batch,
    Us,
    Fast,
    /// Any other.
    Other,
}

impl Word {
    pub fn of(text: &[u8]) -> Self {
        match text {
            b"batch" => Self::Batch,
            b"us" => Self::Us,
            b"fast" => Self::Fast,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default, deserialize_with = "clamped")]
    pub input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub cache_creation_input_tokens: Option<u64>,
    pub cache_creation: Option<WireCacheCreation>,
    pub server_tool_use: Option<WireServerTools>,
    #[serde(default, deserialize_with = "word")]
    pub service_tier: Option<Word>,
    #[serde(default, deserialize_with = "word")]
    pub inference_geo: Option<Word>,
    #[serde(default, deserialize_with = "word")]
    pub speed: Option<Word>,
    pub iterations: Option<Vec<WireIteration>>,
    pub fallback_credit: Option<WireCredit>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireCacheCreation {
    #[serde(default, deserialize_with = "clamped")]
    pub ephemeral_5m_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireServerTools {
    #[serde(default, deserialize_with = "clamped")]
    pub web_search_requests: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireIteration {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub model: Option<String>,
    #[serde(default, deserialize_with = "clamped")]
    pub input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "clamped")]
    pub cache_creation_input_tokens: Option<u64>,
    pub cache_creation: Option<WireCacheCreation>,
    pub speed: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireCredit {
    pub status: Option<WireCreditStatus>,
}

/// A word, or an object that carries it as its `type`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WireCreditStatus {
    Word(String),
    Typed {
        #[serde(rename = "type")]
        kind: String,
    },
    Unknown(IgnoredAny),
}

impl WireCredit {
    pub fn redeemed(&self) -> bool {
        match &self.status {
            Some(WireCreditStatus::Word(word) | WireCreditStatus::Typed { kind: word }) => word == "redeemed",
            Some(WireCreditStatus::Unknown(_)) | None => false,
        }
    }
}

impl WireCacheCreation {
    /// Five-minute and one-hour tokens.
    pub fn split(&self) -> (u64, u64) {
        (self.ephemeral_5m_input_tokens.unwrap_or(0), self.ephemeral_1h_input_tokens.unwrap_or(0))
    }
}

/// Five-minute and one-hour writes: what the total has beyond the split is priced as five-minute writes (contract.md §4.2).
pub(super) fn writes(total: Option<u64>, split: Option<(u64, u64)>) -> (u64, u64) {
    let total = total.unwrap_or(0);
    let (five_minutes, one_hour) = split.unwrap_or((total, 0));
    let surplus = total.saturating_sub(five_minutes.saturating_add(one_hour));
    (five_minutes.saturating_add(surplus), one_hour)
}
