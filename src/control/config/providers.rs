//! What each provider needs to be told: where its account is, and how weir shows itself there (contract.md §5).

use super::{
    base_url,
    reader::{Reader, shown},
    types::{BaseUrl, UpstreamAuth},
};
use crate::kernel::{secret::Secret, snapshot::Provider};

/// Keys that say where an account is, and the providers they belong to.
const PLACES: [(&str, &[&str]); 5] = [
    ("region", &["bedrock", "vertex", "anthropic_aws"]),
    ("project", &["vertex"]),
    ("resource", &["foundry"]),
    ("workspace_id", &["anthropic_aws"]),
    ("endpoint", &["bedrock"]),
];
/// Longest part of a host name or path that a configuration may bring in. Bytes.
const PART_BYTES_MAX: usize = 128;
/// Headers that are weir's own or end at each hop; a configured one would break the framing or a signature.
const RESERVED: [&str; 13] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "cookie",
];

/// Which provider, where, and how.
pub(super) struct Place {
    pub provider: Provider,
    pub region: String,
    pub project: String,
    pub workspace_id: String,
    /// Derived from all that; absent only where something is missing.
    pub base_url: Option<BaseUrl>,
}

/// Reads `provider` and what belongs to it; `None` if there is no such provider.
pub(super) fn place(reader: &Reader<'_>) -> Option<Place> {
    let provider = provider(reader)?;
    for (key, whose) in PLACES {
        if reader.has(key) && !whose.contains(&provider.as_str()) {
            reader.error(key, format!("belongs to provider {}", whose.join(" and ")), "remove it");
        }
    }
    let belongs = |key: &str| PLACES.iter().any(|(name, whose)| *name == key && whose.contains(&provider.as_str()));
    let read = |key: &'static str, example: &str, needed: bool| match belongs(key) {
        true => part(reader, key, example, needed),
        false => String::new(),
    };
    let resource = read("resource", "my-resource", !reader.has("base_url"));
    let region = read("region", if provider == Provider::Vertex { "us-east5" } else { "us-east-1" }, true);
    let project = read("project", "my-project", true);
    let workspace_id = read("workspace_id", "wrkspc_01…", true);
    let url = derived(provider, &region, &resource);
    let base_url = url.and_then(|url| base_url::parse(&url).ok());
    Some(Place { provider, region, project, workspace_id, base_url })
}

fn provider(reader: &Reader<'_>) -> Option<Provider> {
    const KNOWN: &str = "write \"anthropic\", \"bedrock\", \"vertex\", \"foundry\" or \"anthropic_aws\"";
    match reader.need_text("provider", "anthropic") {
        None | Some("anthropic") => Some(Provider::Anthropic),
        Some("bedrock") => Some(
            reader
                .choice(
                    "endpoint",
                    &[
                        ("invoke", Provider::Bedrock),
                        ("messages", Provider::BedrockMessages),
                        ("mantle", Provider::BedrockMantle),
                    ],
                )
                .unwrap_or(Provider::Bedrock),
        ),
        Some("vertex") => Some(Provider::Vertex),
        Some("foundry") => Some(Provider::Foundry),
        Some("anthropic_aws") => Some(Provider::AnthropicAws),
        Some(other) => {
            reader.error("provider", format!("is {}", shown(other)), KNOWN);
            None
        }
    }
}

/// A part of a host name or path: letters, digits and hyphens, with dots and underscores where providers have them.
fn part(reader: &Reader<'_>, key: &'static str, example: &str, needed: bool) -> String {
    let text = if needed { reader.need_text(key, example) } else { reader.text(key) };
    let Some(text) = text else { return String::new() };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (key != "region" && matches!(b, b'_' | b'.' | b':'));
    if text.is_empty() || text.len() > PART_BYTES_MAX || !text.bytes().all(fits) || text.starts_with(['-', '.', ':']) {
        let what = format!("is {}, which is no {} of a provider", shown(text), key.replace('_', " "));
        reader.error(key, what, format!("write it as the provider's console shows it: {key} = \"{example}\""));
        return String::new();
    }
    text.to_string()
}

/// Where a provider listens (contract.md §5.1).
fn derived(provider: Provider, region: &str, resource: &str) -> Option<String> {
    let aws = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    match provider {
        Provider::Anthropic => Some("https://api.anthropic.com".to_owned()),
        Provider::Foundry if !resource.is_empty() => {
            Some(format!("https://{resource}.services.ai.azure.com/anthropic"))
        }
        Provider::Foundry => None,
        _ if region.is_empty() => None,
        Provider::Bedrock => Some(format!("https://bedrock-runtime.{region}.{aws}")),
        Provider::BedrockMessages => Some(format!("https://bedrock-runtime.{region}.{aws}/anthropic")),
        Provider::BedrockMantle => Some(format!("https://bedrock-mantle.{region}.api.aws/anthropic")),
        Provider::AnthropicAws => Some(format!("https://aws-external-anthropic.{region}.api.aws")),
        Provider::Vertex => Some(match region {
            "global" => "https://aiplatform.googleapis.com".to_owned(),
            "us" | "eu" => format!("https://aiplatform.{region}.rep.googleapis.com"),
            _ => format!("https://{region}-aiplatform.googleapis.com"),
        }),
    }
}

/// Reads `auth`, which each provider has in forms of its own.
pub(super) fn auth(reader: &Reader<'_>, provider: Provider, has_headers: bool) -> Option<UpstreamAuth> {
    let mend = auth_mend(provider);
    if !reader.has("auth") {
        if provider == Provider::Anthropic && has_headers {
            return Some(UpstreamAuth::Headers);
        }
        reader.error("auth", "is missing", mend);
        return None;
    }
    let reader = reader.table("auth")?;
    let auth = match provider {
        Provider::Anthropic => one_of(&reader, &[API_KEY, BEARER], mend),
        Provider::Bedrock | Provider::BedrockMessages | Provider::BedrockMantle => {
            one_of(&reader, &[BEARER, AWS_KEYS, AWS_CHAIN], mend)
        }
        Provider::AnthropicAws => one_of(&reader, &[API_KEY, AWS_KEYS, AWS_CHAIN], mend),
        Provider::Vertex => one_of(&reader, &[ACCESS_TOKEN, SERVICE_ACCOUNT, GOOGLE_DEFAULT], mend),
        Provider::Foundry => one_of(&reader, &[API_KEY, ENTRA], mend),
    };
    reader.finish();
    auth
}

fn auth_mend(provider: Provider) -> &'static str {
    match provider {
        Provider::Anthropic => "write auth = { api_key = \"${NAME}\" } or auth = { bearer = \"${NAME}\" }",
        Provider::Bedrock | Provider::BedrockMessages | Provider::BedrockMantle => {
            "write auth = {} for the AWS credential chain, { bearer = \"${NAME}\" } for a Bedrock API key, or \
             { access_key_id = \"AKIA…\", secret_access_key = \"${NAME}\" }"
        }
        Provider::AnthropicAws => {
            "write auth = {} for the AWS credential chain, { api_key = \"${NAME}\" }, or \
             { access_key_id = \"AKIA…\", secret_access_key = \"${NAME}\" }"
        }
        Provider::Vertex => {
            "write auth = {} for Google's default credentials, { service_account = \"sa.json\" } or \
             { access_token = \"${NAME}\" }"
        }
        Provider::Foundry => "write auth = { api_key = \"${NAME}\" } or { entra = true }",
    }
}

/// One form of `auth`: the keys by which it is recognised, and how it is read.
#[derive(Clone, Copy)]
struct Form {
    keys: &'static [&'static str],
    /// It also is what is meant when no key at all is written.
    is_default: bool,
    read: fn(&Reader<'_>) -> Option<UpstreamAuth>,
}

const API_KEY: Form =
    Form { keys: &["api_key"], is_default: false, read: |reader| reader.secret("api_key").map(UpstreamAuth::ApiKey) };
const BEARER: Form =
    Form { keys: &["bearer"], is_default: false, read: |reader| reader.secret("bearer").map(UpstreamAuth::Bearer) };
const ACCESS_TOKEN: Form = Form {
    keys: &["access_token"],
    is_default: false,
    read: |reader| reader.secret("access_token").map(UpstreamAuth::Bearer),
};
const AWS_KEYS: Form =
    Form { keys: &["access_key_id", "secret_access_key", "session_token"], is_default: false, read: aws_keys };
const AWS_CHAIN: Form = Form {
    keys: &["profile"],
    is_default: true,
    read: |reader| {
        let profile = reader.has("profile").then(|| reader.optional_label("profile"));
        Some(UpstreamAuth::AwsChain { profile: profile.filter(|name| !name.is_empty()) })
    },
};
const SERVICE_ACCOUNT: Form = Form { keys: &["service_account"], is_default: false, read: service_account };
const GOOGLE_DEFAULT: Form = Form { keys: &[], is_default: true, read: |_| Some(UpstreamAuth::GoogleDefault) };
const ENTRA: Form = Form { keys: &["entra"], is_default: false, read: entra };

fn one_of(reader: &Reader<'_>, forms: &[Form], mend: &str) -> Option<UpstreamAuth> {
    let written = |form: &&Form| {
        let mut any = false;
        for key in form.keys {
            // All of them are asked for, so that none is called unknown.
            any |= reader.has(key);
        }
        any
    };
    let found: Vec<&Form> = forms.iter().filter(written).collect();
    match found.as_slice() {
        [form] => (form.read)(reader),
        [] => match forms.iter().find(|form| form.is_default) {
            Some(form) => (form.read)(reader),
            None => {
                let names: Vec<&str> = forms.iter().filter_map(|form| form.keys.first().copied()).collect();
                reader.error_here(format!("has neither {}", names.join(" nor ")), mend);
                None
            }
        },
        [first, second, ..] => {
            let name = |form: &Form| form.keys.iter().find(|key| reader.has(key)).copied().unwrap_or_default();
            reader.error_here(format!("has both {} and {}", name(first), name(second)), mend);
            None
        }
    }
}

fn aws_keys(reader: &Reader<'_>) -> Option<UpstreamAuth> {
    // The id travels in the open: it may stand here as it is.
    let access_key_id = match reader.need_text("access_key_id", "AKIA…") {
        Some(text) if text.starts_with("${") => reader.secret("access_key_id").map(|id| id.expose().clone()),
        Some(text) if (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Some(text.to_owned())
        }
        Some(_) => {
            let mend = "write the id that begins with AKIA or ASIA, or \"${NAME}\"";
            reader.error("access_key_id", "is no access key id of AWS", mend);
            None
        }
        None => None,
    };
    let secret_access_key = reader.need_secret("secret_access_key");
    let wants_token = reader.has("session_token");
    let session_token = reader.secret("session_token");
    if wants_token && session_token.is_none() {
        return None;
    }
    Some(UpstreamAuth::AwsKeys { access_key_id: access_key_id?, secret_access_key: secret_access_key?, session_token })
}

fn service_account(reader: &Reader<'_>) -> Option<UpstreamAuth> {
    let file = reader.file("service_account")?;
    let wrong = |what: String| {
        let mend = "name the JSON key file of a Google service account, readable by this user";
        reader.error("service_account", what, mend);
        None
    };
    // What the file says is a secret: an error shows what is missing, never what is there.
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => return wrong(format!("{} cannot be read: {error}", file.display())),
    };
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
        return wrong(format!("{} is no JSON", file.display()));
    };
    for key in ["client_email", "private_key", "token_uri"] {
        if !value.get(key).is_some_and(serde_json::Value::is_string) {
            return wrong(format!("{} has no {key}", file.display()));
        }
    }
    Some(UpstreamAuth::GoogleServiceAccount(file))
}

fn entra(reader: &Reader<'_>) -> Option<UpstreamAuth> {
    if !reader.boolean("entra", false) {
        reader.error("entra", "is not true", "write entra = true, or api_key = \"${NAME}\" instead");
        return None;
    }
    let env = |name: &str| (reader.context().env)(name).filter(|value| !value.is_empty());
    // With a client named, its proof must be named too; with none, the host's managed identity is asked.
    if env("AZURE_CLIENT_SECRET").is_some() || env("AZURE_FEDERATED_TOKEN_FILE").is_some() {
        for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"] {
            if env(name).is_none() {
                let what = format!("needs {name}, since AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE is set");
                reader.error("entra", what, format!("export {name}=… before the start"));
                return None;
            }
        }
    }
    Some(UpstreamAuth::Entra)
}

/// Reads `headers`: for another gateway, a tenant, a proxy. A value is plain text or a reference to a secret.
pub(super) fn headers(reader: &Reader<'_>) -> Vec<(String, Secret<String>)> {
    let mut headers: Vec<(String, Secret<String>)> = Vec::new();
    for (name, path, text) in reader.named_texts("headers") {
        let lower = name.to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let reserved = RESERVED.contains(&lower.as_str()) || lower.starts_with("proxy-") || lower.starts_with("x-amz-");
        if lower.is_empty() || lower.len() > PART_BYTES_MAX || !lower.bytes().all(is_token) {
            reader.error(&path, "is no header name", "write a name such as \"x-tenant\"");
        } else if reserved {
            reader.error(&path, "is a header that weir writes itself, or that ends at each hop", "remove it");
        } else if headers.iter().any(|(known, _)| *known == lower) {
            reader.error(&path, "is there twice, in another case of letters", "keep one");
        } else if text.starts_with("${") {
            headers.extend(reader.secret_behind(&path, text).map(|value| (lower, value)));
        } else if text.is_empty() || text.trim() != text || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            reader.error(&path, "is empty or holds characters that no header carries", "write visible ASCII");
        } else if carries_a_credential(&lower) {
            let mend = "write \"${NAME}\" and set NAME in the environment, or \"${file:/path}\"";
            reader.error(&path, "is a secret written out", mend);
        } else {
            headers.push((lower, Secret::new(text.to_owned())));
        }
    }
    headers
}

fn carries_a_credential(name: &str) -> bool {
    name == "authorization" || ["key", "token", "secret", "password"].iter().any(|word| name.contains(word))
}
