//! Google: a service account's key file, or the application default credentials (contract.md §5.4).
//!
//! All of it is asked for here, over the one client that knows the environment's proxies: `gcp_auth` knows neither these nor
//! `GCE_METADATA_HOST`, federated workloads and impersonation.

use super::{Fresh, MintError, http};
use crate::{kernel::credential::Shown, sys::clock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Where tokens are had if the key file does not say.
const TOKEN_ENDPOINT: &str = "https://oauth2.googleapis.com/token";
/// The longest that Google lets an assertion live.
const ASSERTION_SECONDS: i64 = 3600;
const METADATA: &str = "metadata.google.internal";
/// A file of credentials is not larger; anything else is the wrong file. Bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A token for a service account.
pub(super) async fn service_account(file: &Path) -> Result<Fresh, MintError> {
    from_service_account(&read(file).await?).await
}

/// A service account's key file, as far as it is needed.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

/// What it says of itself, signed with its key, in exchange for a token (RFC 7523).
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

async fn from_service_account(text: &str) -> Result<Fresh, MintError> {
    // The parser's own words could quote the file.
    let invalid = || MintError::new("the service account's key file is not valid");
    let account: ServiceAccount = serde_json::from_str(text).map_err(|_| invalid())?;
    let key = EncodingKey::from_rsa_pem(account.private_key.as_bytes()).map_err(|_| invalid())?;
    let url = account.token_uri.as_deref().unwrap_or(TOKEN_ENDPOINT);
    let now = clock::unix().seconds();
    let says = Assertion { iss: &account.client_email, scope: SCOPE, aud: url, iat: now, exp: now + ASSERTION_SECONDS };
    let header = Header { kid: account.private_key_id, ..Header::new(Algorithm::RS256) };
    let assertion = jsonwebtoken::encode(&header, &says, &key).map_err(|_| invalid())?;
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
    http::bearer("Google's token endpoint", http::client()?.post(url).form(&form)).await
}

/// A token from the application default credentials: the file that is named, the one that gcloud leaves, the metadata server.
pub(super) async fn default_credentials() -> Result<Fresh, MintError> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(file) = env("GOOGLE_APPLICATION_CREDENTIALS") {
        return from_file(Path::new(&file)).await;
    }
    let config = env("CLOUDSDK_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| env("HOME").map(|home| Path::new(&home).join(".config/gcloud")));
    if let Some(file) = config.map(|folder| folder.join("application_default_credentials.json"))
        && file.is_file()
    {
        return from_file(&file).await;
    }
    let host = env("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}");
    let request = http::link_client()?.get(url).header("metadata-flavor", "Google");
    http::bearer("the metadata server", request).await
}

async fn from_file(file: &Path) -> Result<Fresh, MintError> {
    let text = read(file).await?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|_| MintError::new(format!("the credentials file {} is no JSON", file.display())))?;
    match value["type"].as_str().unwrap_or_default() {
        "service_account" => from_service_account(&text).await,
        "authorized_user" => authorized_user(&value).await,
        "external_account" => external_account(&value).await,
        "impersonated_service_account" => {
            let source = &value["source_credentials"];
            let from = match source["type"].as_str().unwrap_or_default() {
                "service_account" => from_service_account(&source.to_string()).await?,
                "authorized_user" => authorized_user(source).await?,
                other => return Err(MintError::new(format!("source_credentials of type \"{other}\" are not known"))),
            };
            impersonate(&from, text_of(&value, "service_account_impersonation_url")?).await
        }
        other => Err(MintError::new(format!(
            "the credentials file {} is of type \"{other}\", which is not known",
            file.display()
        ))),
    }
}

async fn authorized_user(value: &Value) -> Result<Fresh, MintError> {
    let url = value["token_uri"].as_str().unwrap_or(TOKEN_ENDPOINT);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", text_of(value, "client_id")?),
        ("client_secret", text_of(value, "client_secret")?),
        ("refresh_token", text_of(value, "refresh_token")?),
    ];
    http::bearer("Google's token endpoint", http::client()?.post(url).form(&form)).await
}

/// A federated workload: its own platform's token for one of Google's (RFC 8693), and that for a service account's at times.
async fn external_account(value: &Value) -> Result<Fresh, MintError> {
    let subject = subject_token(&value["credential_source"]).await?;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("scope", SCOPE),
        ("audience", text_of(value, "audience")?),
        ("subject_token_type", text_of(value, "subject_token_type")?),
        ("subject_token", subject.as_str()),
    ];
    let url = value["token_url"].as_str().unwrap_or("https://sts.googleapis.com/v1/token");
    let exchanged = http::bearer("Google's token exchange", http::client()?.post(url).form(&form)).await?;
    match value["service_account_impersonation_url"].as_str() {
        Some(url) => impersonate(&exchanged, url).await,
        None => Ok(exchanged),
    }
}

async fn subject_token(source: &Value) -> Result<String, MintError> {
    let text = if let Some(file) = source["file"].as_str() {
        read(Path::new(file)).await?
    } else if let Some(url) = source["url"].as_str() {
        let mut request = http::client()?.get(url);
        for (name, value) in source["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        let body = http::json("the workload's token source", request).await?;
        String::from_utf8(body).map_err(|_| MintError::new("the workload's token is no text"))?
    } else {
        let what = "credential_source names neither a file nor a url; workloads of AWS and executables are not known";
        return Err(MintError::new(what));
    };
    match source["format"]["type"].as_str() {
        Some("json") => {
            let value: Value =
                serde_json::from_str(&text).map_err(|_| MintError::new("the workload's token source is no JSON"))?;
            let field = source["format"]["subject_token_field_name"].as_str().unwrap_or("access_token");
            Ok(text_of(&value, field)?.to_owned())
        }
        _ => Ok(text.trim().to_owned()),
    }
}

/// A service account's token for another's.
async fn impersonate(from: &Fresh, url: &str) -> Result<Fresh, MintError> {
    let Shown::Lines(lines) = &from.shown else { return Err(MintError::new("only tokens can impersonate")) };
    let line = String::from_utf8_lossy(lines.expose()).into_owned();
    let bearer = line.trim_end().split_once(": ").map(|(_, value)| value).unwrap_or_default().to_owned();
    let ask = serde_json::json!({ "scope": [SCOPE], "lifetime": "3600s" });
    let request = http::client()?.post(url).header("authorization", bearer).json(&ask);
    let body = http::json("Google's impersonation endpoint", request).await?;
    let wrong = || MintError::new("Google's impersonation endpoint answered no accessToken");
    let value: Value = serde_json::from_slice(&body).map_err(|_| wrong())?;
    let token = value["accessToken"].as_str().filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    let end = value["expireTime"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let shown = Shown::bearer(token.filter(|token| !token.is_empty()).ok_or_else(wrong)?);
    Ok(Fresh { shown, expires_at: end.map(jiff::Timestamp::as_second) })
}

fn text_of<'a>(value: &'a Value, key: &str) -> Result<&'a str, MintError> {
    value[key].as_str().ok_or_else(|| MintError::new(format!("the credentials have no {key}")))
}

async fn read(file: &Path) -> Result<String, MintError> {
    let cannot = |error: std::io::Error| MintError::new(format!("{} cannot be read: {error}", file.display()));
    let about = tokio::fs::metadata(file).await.map_err(cannot)?;
    if about.len() > FILE_BYTES_MAX {
        return Err(MintError::new(format!("{} is larger than 64 KiB", file.display())));
    }
    tokio::fs::read_to_string(file).await.map_err(cannot)
}
