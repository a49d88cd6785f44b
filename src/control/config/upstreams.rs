//! `[[upstream]]`.

use super::{
    base_url, limits, providers, proxy,
    reader::Reader,
    types::{BaseUrl, UpstreamAuth, UpstreamConfig},
};
use crate::kernel::{
    keep_alive::KeepAlive,
    limits::{IDLE_UPSTREAM_CONNECTIONS_SET_MAX, Limits},
    snapshot::{OnAbort, Provider},
};
use std::{collections::HashMap, time::Duration};

/// How long an abandoned stream is read on, where it is.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Requests at once that an upstream can be said to take.
const STREAMS_MAX: u64 = 1_000_000;

/// Reads all upstreams, and checks their names against each other.
pub(super) fn upstreams(root: &Reader<'_>) -> Vec<UpstreamConfig> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut upstreams = Vec::new();
    for reader in root.tables("upstream") {
        let upstream = upstream(&reader);
        if !upstream.name.is_empty() {
            let path = reader.path_of("name");
            if let Some(first) = seen.insert(upstream.name.clone(), path) {
                reader.error(
                    "name",
                    format!("is the name of another upstream too ({first})"),
                    "give each its own name",
                );
            }
        }
        upstreams.push(upstream);
    }
    upstreams
}

fn upstream(reader: &Reader<'_>) -> UpstreamConfig {
    let written_name = reader.need_text("name", "anthropic-main");
    let name = reader.label("name", written_name);
    let mut upstream = UpstreamConfig {
        name,
        provider: Provider::Anthropic,
        base_url: first_party(),
        auth: None,
        headers: Vec::new(),
        region: String::new(),
        project: String::new(),
        workspace_id: String::new(),
        ca: None,
        proxy: None,
        connect_timeout: None,
        keep_alive: KeepAlive::default(),
        streams_max: None,
        weight: 1,
        regional: false,
        on_abort: OnAbort::Cancel,
    };
    let Some(place) = providers::place(reader) else {
        reader.give_up();
        return upstream;
    };
    upstream.provider = place.provider;
    upstream.base_url = place.base_url.unwrap_or_else(first_party);
    (upstream.region, upstream.project, upstream.workspace_id) = (place.region, place.project, place.workspace_id);
    base_url(reader, &mut upstream);
    upstream.headers = providers::headers(reader);
    upstream.auth = providers::auth(reader, upstream.provider, !upstream.headers.is_empty());
    check_headers(reader, &upstream);
    upstream.ca = reader.file("ca");
    upstream.proxy = proxy::proxy(reader, &upstream.base_url);
    if reader.has("connect_timeout") {
        upstream.connect_timeout = Some(limits::connect_timeout(reader, Limits::default().connect_timeout));
    }
    upstream.keep_alive = keep_alive(reader);
    if reader.has("streams_max") {
        upstream.streams_max = u32::try_from(reader.integer("streams_max", 1, 1..=STREAMS_MAX)).ok();
    }
    upstream.weight = u32::try_from(reader.integer("weight", 1, 1..=1000)).unwrap_or(1);
    upstream.regional = reader.boolean("regional", false);
    upstream.on_abort = on_abort(reader);
    reader.finish();
    upstream
}

/// `keep_alive = { idle, age, requests, connections }`.
fn keep_alive(reader: &Reader<'_>) -> KeepAlive {
    let mut keep = KeepAlive::default();
    let Some(reader) = reader.table("keep_alive") else { return keep };
    keep.idle = reader.duration("idle", keep.idle, Duration::from_millis(10)..=Duration::from_secs(3600));
    keep.age = reader.duration("age", keep.age, Duration::from_millis(10)..=Duration::from_secs(24 * 3600));
    if reader.has("requests") {
        keep.requests = u32::try_from(reader.integer("requests", 1000, 1..=1_000_000_000)).ok();
    }
    let most = IDLE_UPSTREAM_CONNECTIONS_SET_MAX as u64;
    keep.connections = reader.integer("connections", keep.connections as u64, 0..=most) as usize;
    reader.finish();
    keep
}

/// A base URL that is written stands in for the derived one.
fn base_url(reader: &Reader<'_>, upstream: &mut UpstreamConfig) {
    let allow_plain_http = reader.boolean("allow_plain_http", false);
    if let Some(text) = reader.text("base_url") {
        match base_url::parse(text) {
            Ok(url) => upstream.base_url = url,
            Err(what) => reader.error("base_url", what, "write \"https://HOST\", with :PORT and /PATH if need be"),
        }
        // The native Messages endpoints stand below a path of their own, whatever the host is.
        let native = matches!(upstream.provider, Provider::BedrockMessages | Provider::BedrockMantle);
        if native && !upstream.base_url.base_path.ends_with("/anthropic") {
            upstream.base_url.base_path.push_str("/anthropic");
        }
    }
    if !upstream.base_url.tls && !upstream.base_url.is_loopback() && !allow_plain_http {
        let message = "is plain http to another machine, which shows credentials and prompts to the network";
        reader.error(
            "base_url",
            message,
            "write https://, or allow_plain_http = true on this upstream if the path is private",
        );
    }
}

/// Two headers of one name would leave it to the provider which of them counts.
fn check_headers(reader: &Reader<'_>, upstream: &UpstreamConfig) {
    let own: &[&str] = match &upstream.auth {
        Some(UpstreamAuth::ApiKey(_)) => &["x-api-key"],
        Some(UpstreamAuth::Headers) | None => &[],
        Some(_) => &["authorization"],
    };
    let workspace = (!upstream.workspace_id.is_empty()).then_some("anthropic-workspace-id");
    for name in own.iter().copied().chain(workspace) {
        if upstream.headers.iter().any(|(header, _)| header == name) {
            let mend = "remove it from headers, or say it there alone";
            reader.error(&format!("headers.{name}"), "is what auth and workspace_id already say", mend);
        }
    }
}

fn on_abort(reader: &Reader<'_>) -> OnAbort {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(600);
    let most = reader.duration("drain_max", DRAIN_MAX, bounds);
    let drains = reader.choice("on_abort", &[("cancel", false), ("drain", true)]).unwrap_or(false);
    if reader.has("drain_max") && !drains {
        let mend = "write on_abort = \"drain\", or remove drain_max";
        reader.error("drain_max", "says how long an abandoned stream is read on, but such streams are cancelled", mend);
    }
    if drains { OnAbort::Drain(most) } else { OnAbort::Cancel }
}

fn first_party() -> BaseUrl {
    BaseUrl {
        tls: true,
        host: "api.anthropic.com".into(),
        port: 443,
        authority: "api.anthropic.com".into(),
        base_path: String::new(),
    }
}
