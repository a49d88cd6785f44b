//! `[store]`, `[admin]`, `[budgets]` and `[audit]`.

use super::{
    reader::Reader,
    refused,
    types::{Admin, Audit, OnStoreError, Store},
};
use crate::kernel::{secret::Secret, snapshot::Reserve};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const MIB: u64 = 1024 * 1024;

/// Reads `[store]`.
pub(super) fn store(root: &Reader<'_>) -> Store {
    let mut store = Store {
        path: root.context().resolve("weir-data"),
        flush_interval: Duration::from_millis(50),
        segment_bytes_max: 64 * MIB,
    };
    let Some(reader) = root.table("store") else { return store };
    store.path = reader.file("path").unwrap_or(store.path);
    let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
    store.flush_interval = reader.duration("flush_interval", store.flush_interval, bounds);
    store.segment_bytes_max = reader.size("segment_max", store.segment_bytes_max, 64 * 1024..=4096 * MIB);
    for key in ["redis", "postgres"] {
        let what = "shared stores are not supported in this version; each node keeps its own journal";
        refused::key(&reader, key, what, "remove it and use store.path");
    }
    reader.finish();
    store
}

/// Reads `[admin]`.
pub(super) fn admin(root: &Reader<'_>) -> Admin {
    let Some(reader) = root.table("admin") else {
        if !root.has("admin") {
            root.error("admin.token", "is missing", "write [admin] and token = \"${WEIR_ADMIN_TOKEN}\"");
        }
        return Admin { token: Secret::new(String::new()) };
    };
    let token = reader.need_secret("token").unwrap_or_else(|| Secret::new(String::new()));
    reader.finish();
    Admin { token }
}

/// Reads `[budgets]`.
pub(super) fn budgets(root: &Reader<'_>) -> (Reserve, OnStoreError) {
    let Some(reader) = root.table("budgets") else { return Default::default() };
    let reserve = reader.choice("reserve", &[("expected", Reserve::Expected), ("strict", Reserve::Strict)]);
    let on_error = reader.choice("on_store_error", &[("open", OnStoreError::Open), ("closed", OnStoreError::Closed)]);
    reader.finish();
    (reserve.unwrap_or_default(), on_error.unwrap_or_default())
}

/// What may be kept of bodies.
#[derive(Clone, Copy, PartialEq)]
enum Bodies {
    None,
    Hash,
    Full,
}

/// Reads `[audit]`.
pub(super) fn audit(root: &Reader<'_>) -> Audit {
    let mut audit = Audit { retention: DAY * 400 };
    let Some(reader) = root.table("audit") else { return audit };
    let bodies = reader.choice("bodies", &[("none", Bodies::None), ("hash", Bodies::Hash), ("full", Bodies::Full)]);
    if bodies.is_some_and(|bodies| bodies != Bodies::None) {
        reader.error("bodies", "request bodies are neither hashed nor kept in this version", "write bodies = \"none\"");
    }
    refused::key(&reader, "team", "bodies of single teams are not kept in this version", "remove [audit.team.…]");
    audit.retention = reader.duration("retention", audit.retention, DAY..=DAY * 3660);
    reader.finish();
    audit
}
