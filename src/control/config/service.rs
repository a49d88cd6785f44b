//! `[store]`, `[admin]`, `[reload]`, `[budgets]`, `[objects]` and `[repair]`.

use super::{
    reader::Reader,
    refused,
    types::{Admin, OnStoreError, Store},
    units::MIB,
};
use crate::kernel::{objects::Unknown, repairs::RepairMode, secret::Secret, snapshot::Reserve};
use std::time::Duration;

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

/// Reads `[reload]`: whether a change of files is enough.
pub(super) fn watch(root: &Reader<'_>) -> bool {
    let Some(reader) = root.table("reload") else { return false };
    let watch = reader.boolean("watch", false);
    reader.finish();
    watch
}

/// Reads `[objects]`: batches and files.
pub(super) fn unknown_objects(root: &Reader<'_>) -> Unknown {
    let Some(reader) = root.table("objects") else { return Unknown::default() };
    let unknown = reader.choice("unknown", &[("refuse", Unknown::Refuse), ("ask", Unknown::Ask)]);
    reader.finish();
    unknown.unwrap_or_default()
}

/// Reads `[repair]`: refusals that name what they refuse.
pub(super) fn repair(root: &Reader<'_>) -> RepairMode {
    let Some(reader) = root.table("repair") else { return RepairMode::default() };
    let modes = [("off", RepairMode::Off), ("observe", RepairMode::Observe), ("repair", RepairMode::Repair)];
    let mode = reader.choice("mode", &modes);
    reader.finish();
    mode.unwrap_or_default()
}

/// Reads `[budgets]`.
pub(super) fn budgets(root: &Reader<'_>) -> (Reserve, OnStoreError) {
    let Some(reader) = root.table("budgets") else { return Default::default() };
    let reserve = reader.choice("reserve", &[("expected", Reserve::Expected), ("strict", Reserve::Strict)]);
    let on_error = reader.choice("on_store_error", &[("open", OnStoreError::Open), ("closed", OnStoreError::Closed)]);
    reader.finish();
    (reserve.unwrap_or_default(), on_error.unwrap_or_default())
}
