//! `[audit]`.

use super::{reader::Reader, types::Audit, units::MIB};
use crate::{
    control::bodies::{BODY_SEGMENT_BYTES_MAX, BodyKey},
    kernel::bodies::{Bodies, BodyRules, OnOverflow},
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const WORDS: [(&str, Bodies); 3] = [("none", Bodies::None), ("hash", Bodies::Hash), ("full", Bodies::Full)];

/// Reads `[audit]`.
pub(super) fn audit(root: &Reader<'_>) -> Audit {
    let mut audit = Audit {
        retention: DAY * 400,
        bodies: BodyRules::default(),
        body_key: None,
        body_retention: DAY * 30,
        body_segment_bytes_max: BODY_SEGMENT_BYTES_MAX,
    };
    let Some(reader) = root.table("audit") else { return audit };
    audit.retention = reader.duration("retention", audit.retention, DAY..=DAY * 3660);
    audit.bodies.default = reader.choice("bodies", &WORDS).unwrap_or_default();
    if let Some(teams) = reader.table("team") {
        for (team, reader) in teams.each() {
            if !reader.has("bodies") {
                reader.error("bodies", "is missing", "write bodies = \"none\", \"hash\" or \"full\"");
            }
            if let Some(bodies) = reader.choice("bodies", &WORDS) {
                audit.bodies.teams.insert(team.into(), bodies);
            }
            reader.finish();
        }
    }
    let overflow = [("refuse", OnOverflow::Refuse), ("drop", OnOverflow::Drop)];
    audit.bodies.on_overflow = reader.choice("on_body_overflow", &overflow).unwrap_or_default();
    audit.body_retention = reader.duration("body_retention", audit.body_retention, DAY..=DAY * 3660);
    audit.body_segment_bytes_max =
        reader.size("body_segment_max", audit.body_segment_bytes_max, 64 * 1024..=4096 * MIB);
    audit.body_key = body_key(&reader, audit.bodies.stores_any());
    reader.finish();
    audit
}

fn body_key(reader: &Reader<'_>, needed: bool) -> Option<BodyKey> {
    if !reader.has("body_key") {
        if needed {
            let mend = "make one with `openssl rand -hex 32`, put it where the others are, and write \
                        body_key = \"${WEIR_BODY_KEY}\" or \"${file:/path}\"";
            reader.error("body_key", "is missing: bodies are stored encrypted only", mend);
        }
        return None;
    }
    let secret = reader.secret("body_key")?;
    match BodyKey::parse(secret.expose()) {
        Ok(key) => Some(key),
        Err(error) => {
            reader.error("body_key", error, "make one with `openssl rand -hex 32`");
            None
        }
    }
}
