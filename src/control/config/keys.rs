//! `[[key]]` and `[keys]`.

use super::{listen::networks, reader::Reader, types::KeyConfig};
use crate::kernel::{keys::KeyDigest, policy::Pattern, snapshot::OnRevoke};
use ipnet::IpNet;
use std::collections::HashMap;

/// Reads all keys; ids and secrets are unique.
pub(super) fn keys(root: &Reader<'_>) -> Vec<KeyConfig> {
    let readers = root.tables("key");
    // By place among the readers.
    let mut ids: HashMap<String, usize> = HashMap::with_capacity(readers.len());
    let mut digests: HashMap<[u8; 32], usize> = HashMap::with_capacity(readers.len());
    let mut keys: Vec<KeyConfig> = Vec::with_capacity(readers.len());
    for (place, reader) in readers.iter().enumerate() {
        let key = key(reader);
        if !key.id.is_empty()
            && let Some(first) = ids.insert(key.id.clone(), place)
        {
            let first = readers[first].path_of("id");
            reader.error("id", format!("is the id of another key too ({first})"), "give each key its own id");
        }
        if let Some(digest) = key.digest
            && let Some(first) = digests.insert(digest.0, place)
        {
            let field = if reader.has("secret") { "secret" } else { "sha256" };
            let first = &keys[first].id;
            reader.error(field, format!("is the secret of key \"{first}\" too"), "give each key its own secret");
        }
        keys.push(key);
    }
    keys
}

/// Reads `[keys]`.
pub(super) fn on_revoke(root: &Reader<'_>) -> OnRevoke {
    let Some(reader) = root.table("keys") else { return OnRevoke::default() };
    let chosen = reader.choice("on_revoke", &[("finish", OnRevoke::Finish), ("end", OnRevoke::End)]);
    reader.finish();
    chosen.unwrap_or_default()
}

fn key(reader: &Reader<'_>) -> KeyConfig {
    let written_id = reader.need_text("id", "dev-alice");
    let key = KeyConfig {
        id: reader.label("id", written_id),
        digest: digest(reader),
        retiring: None,
        user: reader.optional_label("user"),
        team: reader.optional_label("team"),
        project: reader.optional_label("project"),
        models: patterns(reader),
        expires: reader.timestamp("expires"),
        trusted_peers: trusted_peers(reader),
    };
    reader.finish();
    key
}

/// The whole Internet is no peer that can be trusted with everybody's name.
fn trusted_peers(reader: &Reader<'_>) -> Vec<IpNet> {
    let peers = networks(reader, "trusted_peers");
    if peers.iter().any(|net| net.prefix_len() == 0) {
        let mend = "name the addresses of the gateway or service that speaks for others, such as \"10.1.2.3\"";
        reader.error("trusted_peers", "trusts every address", mend);
    }
    peers
}

fn digest(reader: &Reader<'_>) -> Option<KeyDigest> {
    const MEND: &str = "write secret = \"${NAME}\", or sha256 = \"…\" with the 64 hexadecimal digits of its SHA-256";
    match (reader.has("secret"), reader.has("sha256")) {
        (true, false) => reader.secret("secret").map(|secret| KeyDigest::of(secret.expose().as_bytes())),
        (false, true) => {
            let digest = KeyDigest::from_hex(reader.text("sha256")?);
            if digest.is_none() {
                reader.error("sha256", "is not 64 hexadecimal digits", MEND);
            }
            digest
        }
        (both, _) => {
            let message = if both { "has both secret and sha256" } else { "has neither secret nor sha256" };
            reader.error_here(message, MEND);
            None
        }
    }
}

fn patterns(reader: &Reader<'_>) -> Option<Vec<Pattern>> {
    let texts = reader.texts("models")?;
    if texts.is_empty() {
        reader.error("models", "allows no model at all", "name models such as \"claude-*\", or remove it to allow all");
    }
    Some(texts.into_iter().map(|(_, text)| Pattern::new(text)).collect())
}
