//! Fetching one set of keys: one GET, no redirect, capped in time and size.

use crate::{
    control::config::{JwtConfig, KeySource, trusted_roots},
    kernel::{
        identity::KeySet,
        limits::{JWKS_BYTES_MAX, JWKS_FETCH_TIMEOUT},
    },
};
use reqwest::{Client, StatusCode, redirect};
use std::{error::Error, path::PathBuf, sync::Arc};

/// Where a set comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Its URL.
    pub url: String,
    /// PEM file of additional roots.
    pub ca: Option<PathBuf>,
}

impl Source {
    /// The source of an issuer's keys, if it publishes them.
    pub fn of(issuer: &JwtConfig) -> Option<Self> {
        match &issuer.source {
            Some(KeySource::Published { url, ca, .. }) => Some(Self { url: url.clone(), ca: ca.clone() }),
            _ => None,
        }
    }

    /// Fetches the set. The error is a clause for a log line.
    pub(super) async fn fetch(&self) -> Result<KeySet, String> {
        let client = self.client()?;
        let request = client.get(&self.url).header("accept", "application/jwk-set+json, application/json");
        let mut answer = request.send().await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + chunk.len() > JWKS_BYTES_MAX {
                return Err(format!("the answer is larger than {} KiB", JWKS_BYTES_MAX >> 10));
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::parse(&body).map_err(|why| format!("the answer is no usable set of keys: {why}"))
    }

    /// A client for one question: the files behind it may change, and questions are rare.
    fn client(&self) -> Result<Client, String> {
        let roots = trusted_roots(self.ca.as_deref())?;
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(JWKS_FETCH_TIMEOUT)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        builder.build().map_err(|error| failed(&error))
    }
}

/// An error with its causes, without the URL: it may carry what is nobody's business, and the log line names the issuer.
fn failed(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
