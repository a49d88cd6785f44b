//! `[dns]`.

use super::reader::Reader;
use crate::control::addresses::Settings;
use std::time::Duration;

/// Reads `[dns]`.
pub(super) fn dns(root: &Reader<'_>) -> Settings {
    let mut settings = Settings::default();
    let Some(reader) = root.table("dns") else { return settings };
    for (item, text) in reader.texts("servers").unwrap_or_default() {
        let server = text.parse().or_else(|_| text.parse().map(|ip: std::net::IpAddr| (ip, 53).into()));
        match server {
            Ok(server) => settings.servers.push(server),
            Err(_) => reader.error(&item, "is no address of a name server", "write \"10.0.0.53\" or \"10.0.0.53:53\""),
        }
    }
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    settings.ttl_min = reader.duration("ttl_min", settings.ttl_min, second..=Duration::from_secs(300));
    settings.refresh = reader.duration("refresh", settings.refresh, second..=Duration::from_secs(600));
    settings.keep_old = reader.duration("keep_old", settings.keep_old, Duration::ZERO..=hour);
    reader.finish();
    settings
}
