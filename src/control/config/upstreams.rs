//! `[[upstream]]`.

use super::{
    base_url, limits,
    reader::{Reader, shown},
    types::{BaseUrl, UpstreamAuth, UpstreamConfig},
};
use crate::kernel::{
    limits::Limits,
    snapshot::{OnAbort, Provider},
};
use std::{collections::HashMap, time::Duration};

const LATER: [&str; 4] = ["bedrock", "vertex", "foundry", "anthropic_aws"];
/// How long an abandoned stream is read on, where it is.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Keys of providers that are not there yet, so that they are named for what they are.
const THEIRS: [(&str, &str); 4] = [
    ("region", "bedrock and vertex"),
    ("project", "vertex"),
    ("resource", "foundry"),
    ("workspace_id", "anthropic_aws"),
];

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
        ca: None,
        connect_timeout: None,
        weight: 1,
        regional: false,
        on_abort: OnAbort::Cancel,
    };
    if !provider_is_served(reader) {
        reader.give_up();
        return upstream;
    }
    for (key, whose) in THEIRS {
        if reader.has(key) {
            reader.error(key, format!("belongs to provider {whose}"), "remove it");
        }
    }
    let allow_plain_http = reader.boolean("allow_plain_http", false);
    if let Some(text) = reader.text("base_url") {
        match base_url::parse(text) {
            Ok(url) => upstream.base_url = url,
            Err(what) => reader.error("base_url", what, "write \"https://HOST\", with :PORT and /PATH if need be"),
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
    upstream.auth = auth(reader);
    upstream.ca = reader.file("ca");
    if reader.has("connect_timeout") {
        upstream.connect_timeout = Some(limits::connect_timeout(reader, Limits::default().connect_timeout));
    }
    upstream.weight = u32::try_from(reader.integer("weight", 1, 1..=1000)).unwrap_or(1);
    upstream.regional = reader.boolean("regional", false);
    upstream.on_abort = on_abort(reader);
    reader.finish();
    upstream
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

fn provider_is_served(reader: &Reader<'_>) -> bool {
    match reader.need_text("provider", "anthropic") {
        None | Some("anthropic") => true,
        Some(later) if LATER.contains(&later) => {
            let message = format!("is \"{later}\", which this version does not serve yet");
            reader.error("provider", message, "write \"anthropic\" or remove this upstream");
            false
        }
        Some(other) => {
            reader.error("provider", format!("is {}", shown(other)), "write \"anthropic\"");
            false
        }
    }
}

fn auth(reader: &Reader<'_>) -> Option<UpstreamAuth> {
    const MEND: &str = "write auth = { api_key = \"${NAME}\" } or auth = { bearer = \"${NAME}\" }";
    if !reader.has("auth") {
        reader.error("auth", "is missing", MEND);
        return None;
    }
    let reader = reader.table("auth")?;
    let (has_key, has_bearer) = (reader.has("api_key"), reader.has("bearer"));
    let (api_key, bearer) = (reader.secret("api_key"), reader.secret("bearer"));
    reader.finish();
    if has_key == has_bearer {
        reader.error_here(if has_key { "has both api_key and bearer" } else { "has neither api_key nor bearer" }, MEND);
        return None;
    }
    api_key.map(UpstreamAuth::ApiKey).or(bearer.map(UpstreamAuth::Bearer))
}
