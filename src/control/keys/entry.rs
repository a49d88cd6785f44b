//! One key made at run time, and what is shown of any key.

use crate::{
    control::config::KeyConfig,
    kernel::{
        keys::{KeyDigest, Retiring},
        policy::Pattern,
        time::UnixMs,
    },
};
use serde::Serialize;

/// A key made at run time. Times are Unix seconds.
#[derive(Clone)]
pub(super) struct MadeKey {
    pub id: String,
    pub digest: KeyDigest,
    /// The secret before this one. It stays here after its time, since requests that began with it may still run.
    pub previous: Option<Retiring>,
    pub user: String,
    pub team: String,
    pub project: String,
    pub models: Option<Vec<Pattern>>,
    pub expires: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    pub revoked_at: Option<i64>,
}

impl MadeKey {
    pub fn has(&self, digest: KeyDigest) -> bool {
        self.digest == digest || self.previous.is_some_and(|old| old.digest == digest)
    }

    pub fn is_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// As the snapshot takes it.
    pub fn caller(&self) -> KeyConfig {
        KeyConfig {
            id: self.id.clone(),
            digest: Some(self.digest),
            retiring: self.previous,
            user: self.user.clone(),
            team: self.team.clone(),
            project: self.project.clone(),
            models: self.models.clone(),
            expires: self.expires,
            trusted_peers: Vec::new(),
        }
    }

    pub fn view(&self, now: i64) -> KeyView {
        KeyView {
            source: "admin_api",
            created_at: Some(rfc3339(self.created_at)),
            created_by: Some(self.created_by.clone()),
            revoked_at: self.revoked_at.map(rfc3339),
            state: match self.revoked_at {
                Some(_) => KeyState::Revoked,
                None => state_of(self.expires, self.previous, now),
            },
            ..KeyView::configured(&self.caller(), now)
        }
    }
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It opens the gateway.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Two secrets open the gateway: the new one, and for its grace the old one.
    Rotating,
}

fn state_of(expires: Option<i64>, previous: Option<Retiring>, now: i64) -> KeyState {
    match (expires, previous) {
        (Some(at), _) if at <= now => KeyState::Expired,
        (_, Some(old)) if old.until > now => KeyState::Rotating,
        _ => KeyState::Active,
    }
}

/// What the admin API shows of a key: neither secret nor digest. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: KeyState,
    /// `configuration` or `admin_api`.
    pub source: &'static str,
    /// Person or service; empty for none.
    pub user: String,
    /// Team; empty for none.
    pub team: String,
    /// Project; empty for none.
    pub project: String,
    /// Models it may use; null for all.
    pub models: Option<Vec<String>>,
    /// From when it is no longer valid; null for never.
    pub expires: Option<String>,
    /// When it was made; null for configured ones.
    pub created_at: Option<String>,
    /// Who made it; null for configured ones.
    pub created_by: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// Until when the secret before this one works; null unless it does.
    pub previous_valid_until: Option<String>,
}

impl KeyView {
    /// A key of the configuration file.
    pub fn configured(key: &KeyConfig, now: i64) -> Self {
        let patterns = |list: &Vec<Pattern>| list.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Self {
            id: key.id.clone(),
            state: state_of(key.expires, key.retiring, now),
            source: "configuration",
            user: key.user.clone(),
            team: key.team.clone(),
            project: key.project.clone(),
            models: key.models.as_ref().map(patterns),
            expires: key.expires.map(rfc3339),
            created_at: None,
            created_by: None,
            revoked_at: None,
            previous_valid_until: key.retiring.filter(|old| old.until > now).map(|old| rfc3339(old.until)),
        }
    }
}

fn rfc3339(seconds: i64) -> String {
    UnixMs(seconds.max(0) as u64 * 1000).rfc3339()
}
