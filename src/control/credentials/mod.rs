//! Upstream credentials that expire: minted here, kept fresh, published to the shards through their slots.
//!
//! `renewal` decides when to mint, and knows no clock and no network; `aws`, `google` and `entra` do it, each with what its
//! cloud's own clients do; this file keeps one entry for each upstream that needs one. Invariants: no request waits for a
//! credential and none is minted twice at once; the last good one serves until it expires, whatever fails; no error and no log
//! line holds a secret. Deliberately absent: credentials on disk, and any decision about requests.

mod aws;
mod entra;
mod google;
mod http;
mod renewal;

use super::config::{Config, UpstreamAuth, UpstreamConfig};
use crate::{
    kernel::{
        credential::{AwsKeys, CredentialSlot, Minted, Shown, SigningScope},
        secret::Secret,
    },
    sys::clock,
};
use parking_lot::Mutex;
use renewal::Renewal;
use std::{sync::Arc, time::Duration};

/// How often renewals and refusals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The longest that minting may take; a chain of sources asks several in turn.
const MINT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a start waits for the first credentials.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest error text that is kept. Bytes.
const ERROR_BYTES_MAX: usize = 300;

/// What was minted, and until when it is good. Unix seconds.
struct Fresh {
    shown: Shown,
    expires_at: Option<i64>,
}

/// Why nothing could be minted, in a sentence without secrets.
struct MintError(String);

impl MintError {
    /// A sentence; control characters and what is too long are cut.
    fn new(text: impl AsRef<str>) -> Self {
        let mut short = String::new();
        for c in text.as_ref().chars() {
            if short.len() + c.len_utf8() > ERROR_BYTES_MAX {
                short.push('…');
                break;
            }
            short.push(if c.is_control() { ' ' } else { c });
        }
        Self(short)
    }
}

/// What an entry is made of: a change of any of it makes another entry.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    upstream: String,
    auth: UpstreamAuth,
    signing: Option<SigningScope>,
}

/// The credential of one upstream.
struct Entry {
    wanted: Wanted,
    slot: Arc<CredentialSlot>,
    renewal: Mutex<Renewal>,
    last_error: Mutex<Option<String>>,
}

/// How an upstream's credential is doing, for operators.
pub struct CredentialState {
    /// Which upstream.
    pub upstream: String,
    /// Where it comes from.
    pub source: &'static str,
    /// It can be shown now.
    pub valid: bool,
    /// Unix second from which it cannot; `None` for never, or for none at all.
    pub expires_at: Option<i64>,
    /// How many have been minted.
    pub minted: u64,
    /// Why the last attempt failed; `None` after one that did not.
    pub last_error: Option<String>,
    /// The upstream's clock is ahead of ours by so many seconds, as far as is known.
    pub clock_skew_seconds: i64,
}

/// All minted credentials. It outlives reloads: what is configured as before keeps its slot and what is in it.
#[derive(Default)]
pub struct CredentialKeeper {
    entries: Mutex<Vec<Arc<Entry>>>,
}

impl CredentialKeeper {
    /// The minted credential of an upstream; `None` where it needs none. A new one is empty until it has been minted.
    pub fn minted(&self, upstream: &UpstreamConfig) -> Option<Minted> {
        let wanted = wanted(upstream)?;
        let signing = wanted.signing.clone();
        let mut entries = self.entries.lock();
        let slot = match entries.iter().find(|entry| entry.wanted == wanted) {
            Some(entry) => entry.slot.clone(),
            None => {
                let entry = Arc::new(Entry::new(wanted));
                let slot = entry.slot.clone();
                entries.push(entry);
                slot
            }
        };
        Some(Minted { slot, signing })
    }

    /// Forgets what a configuration no longer needs; running requests keep what they have.
    pub fn retain(&self, config: &Config) {
        let wanted: Vec<Wanted> = config.upstreams.iter().filter_map(wanted).collect();
        self.entries.lock().retain(|entry| wanted.contains(&entry.wanted));
    }

    /// How every minted credential is doing.
    pub fn states(&self) -> Vec<CredentialState> {
        self.entries.lock().iter().map(|entry| entry.state(clock::unix().seconds())).collect()
    }

    /// Keeps them fresh, for ever.
    pub async fn keep(self: Arc<Self>) {
        loop {
            self.look();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until everything has been minted once, or has failed once, or it takes too long: a start that is ready can serve.
    pub async fn first(&self) {
        let tried = async {
            while self.entries.lock().iter().any(|entry| !entry.renewal.lock().was_tried()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(FIRST_TIMEOUT, tried).await.is_err() {
            tracing::warn!(
                "some upstream credentials are still being fetched; their upstreams serve once they are there"
            );
        }
    }

    fn look(&self) {
        let due: Vec<Arc<Entry>> =
            self.entries.lock().iter().filter(|entry| entry.is_due(clock::mono())).cloned().collect();
        for entry in due {
            tokio::spawn(async move { entry.mint().await });
        }
    }
}

/// What an upstream's credential is minted from; `None` where it never changes and nothing is signed.
fn wanted(upstream: &UpstreamConfig) -> Option<Wanted> {
    let auth = upstream.auth.as_ref().filter(|auth| auth.is_minted())?.clone();
    let signing = upstream
        .provider
        .signing_service()
        .filter(|_| auth.signs())
        .map(|service| SigningScope { region: upstream.region.as_str().into(), service });
    Some(Wanted { upstream: upstream.name.clone(), auth, signing })
}

impl Entry {
    fn new(wanted: Wanted) -> Self {
        let slot = Arc::new(CredentialSlot::default());
        let mut renewal = Renewal::new(fastrand::u64(..));
        if let UpstreamAuth::AwsKeys { access_key_id, secret_access_key, session_token } = &wanted.auth {
            let keys = AwsKeys {
                access_key_id: access_key_id.as_str().into(),
                secret_access_key: Secret::new(secret_access_key.expose().as_str().into()),
                session_token: session_token.as_ref().map(|token| Secret::new(token.expose().as_str().into())),
            };
            slot.publish(Shown::Keys(keys), None);
            renewal.never();
        }
        Self { wanted, slot, renewal: Mutex::new(renewal), last_error: Mutex::default() }
    }

    fn is_due(&self, now: crate::kernel::time::MonoUs) -> bool {
        let current = self.slot.latest().map_or(0, |grant| grant.version);
        self.renewal.lock().begin(now, current > 0 && self.slot.refused() >= current)
    }

    async fn mint(&self) {
        let minted = tokio::time::timeout(MINT_TIMEOUT, self.ask()).await;
        let minted = minted.unwrap_or_else(|_| Err(MintError::new("the source did not answer within 30 s")));
        let (name, source) = (&self.wanted.upstream, self.wanted.auth.as_str());
        let now = clock::unix().seconds();
        match minted.and_then(|fresh| still_good(fresh, now)) {
            Ok(fresh) => {
                let lives = fresh.expires_at.map(|end| Duration::from_secs((end - now).max(0) as u64));
                let version = self.slot.publish(fresh.shown, fresh.expires_at);
                self.renewal.lock().minted(clock::mono(), lives);
                *self.last_error.lock() = None;
                tracing::info!(upstream = %name, source, version, lives_seconds = ?lives.map(|l| l.as_secs()), "credential minted");
            }
            Err(MintError(error)) => {
                self.renewal.lock().failed(clock::mono());
                let valid = self.slot.latest().is_some_and(|grant| grant.is_valid(now));
                tracing::warn!(upstream = %name, source, valid, error, "no credential could be minted; the last one serves while it is valid");
                *self.last_error.lock() = Some(error);
            }
        }
    }

    async fn ask(&self) -> Result<Fresh, MintError> {
        match &self.wanted.auth {
            UpstreamAuth::AwsChain { profile } => {
                let region = self.wanted.signing.as_ref().map_or("us-east-1", |scope| &scope.region);
                aws::chain(profile.as_deref(), region).await
            }
            UpstreamAuth::GoogleServiceAccount(file) => google::service_account(file).await,
            UpstreamAuth::GoogleDefault => google::default_credentials().await,
            UpstreamAuth::Entra => entra::token().await,
            UpstreamAuth::AwsKeys { .. }
            | UpstreamAuth::ApiKey(_)
            | UpstreamAuth::Bearer(_)
            | UpstreamAuth::Headers => Err(MintError::new("nothing is minted for it")),
        }
    }

    fn state(&self, now_seconds: i64) -> CredentialState {
        let grant = self.slot.latest();
        CredentialState {
            upstream: self.wanted.upstream.clone(),
            source: self.wanted.auth.as_str(),
            valid: grant.as_ref().is_some_and(|grant| grant.is_valid(now_seconds)),
            expires_at: grant.as_ref().and_then(|grant| grant.expires_at),
            minted: grant.as_ref().map_or(0, |grant| grant.version),
            last_error: self.last_error.lock().clone(),
            clock_skew_seconds: self.slot.skew_seconds(),
        }
    }
}

fn still_good(fresh: Fresh, now: i64) -> Result<Fresh, MintError> {
    match fresh.expires_at {
        Some(end) if end <= now => Err(MintError::new(format!(
            "the source gave a credential that has expired {} s ago; is this host's clock right?",
            now - end
        ))),
        _ => Ok(fresh),
    }
}

#[cfg(test)]
mod tests;
