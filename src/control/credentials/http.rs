//! One question to a token endpoint or a metadata server, and its answer.

use super::{Fresh, MintError};
use crate::{kernel::credential::Shown, sys::clock};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use std::{sync::OnceLock, time::Duration};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that holds a token is small. Bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What all token endpoints answer. Azure's managed identities write numbers as texts.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_in: Option<Number>,
    #[serde(default)]
    expires_on: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<i64> {
        match self {
            Self::Whole(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// What all token endpoints answer when they refuse (RFC 6749 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: serde_json::Value,
    #[serde(default)]
    error_description: String,
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).user_agent("weir")
}

/// The client for token endpoints: no redirects, since a redirect would carry a secret elsewhere.
pub(super) fn client() -> Result<&'static Client, MintError> {
    static CLIENT: OnceLock<Option<Client>> = OnceLock::new();
    let built = CLIENT.get_or_init(|| builder().build().ok());
    built.as_ref().ok_or_else(|| MintError::new("the HTTP client cannot be built"))
}

/// The client for metadata servers: they are on this host's own link, and no proxy of the environment reaches them.
pub(super) fn link_client() -> Result<&'static Client, MintError> {
    static CLIENT: OnceLock<Option<Client>> = OnceLock::new();
    let built = CLIENT.get_or_init(|| builder().no_proxy().build().ok());
    built.as_ref().ok_or_else(|| MintError::new("the HTTP client cannot be built"))
}

/// Asks, and reads the JSON of a good answer.
pub(super) async fn json(whom: &str, request: RequestBuilder) -> Result<Vec<u8>, MintError> {
    let failed = |error: reqwest::Error| {
        let kind = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            "cannot be reached"
        } else {
            "broke off"
        };
        MintError::new(format!("{whom} {kind}"))
    };
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(MintError::new(format!("{whom} answered more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&part);
    }
    if status.is_success() {
        return Ok(body);
    }
    // Of a refusal only its own words are shown; a body could echo what it was asked with.
    let words = serde_json::from_slice::<Refusal>(&body).ok().map(|refusal| {
        let error = match &refusal.error {
            serde_json::Value::String(text) => text.clone(),
            other => other["message"].as_str().unwrap_or_default().to_owned(),
        };
        format!(": {error} {}", refusal.error_description)
    });
    Err(MintError::new(format!("{whom} answered {}{}", status.as_u16(), words.unwrap_or_default().trim_end())))
}

/// Asks for a bearer token.
pub(super) async fn bearer(whom: &str, request: RequestBuilder) -> Result<Fresh, MintError> {
    let asked_at = clock::unix().seconds();
    let body = json(whom, request).await?;
    let token: Token =
        serde_json::from_slice(&body).map_err(|_| MintError::new(format!("{whom} answered no access_token")))?;
    if token.access_token.is_empty() || !token.access_token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(MintError::new(format!("{whom} answered a token that no header carries")));
    }
    // Seconds from now are right whatever the two clocks say.
    let lives = token.expires_in.as_ref().and_then(Number::value).map(|seconds| asked_at.saturating_add(seconds));
    let expires_at = lives.or_else(|| token.expires_on.as_ref().and_then(Number::value));
    Ok(Fresh { shown: Shown::bearer(&token.access_token), expires_at })
}
