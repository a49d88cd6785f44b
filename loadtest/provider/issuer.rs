//! Where gateways get their credentials: Google's token endpoint and metadata server, Entra's token endpoint, AWS's instance
//! metadata and container endpoint, played by the same process so that it knows what it issued.
//!
//! Besides: `GET /sim/issuer` tells how many were issued and what proof was shown last, `PUT /sim/issuer?fail=1` makes the endpoints
//! fail and `fail=0` mends them, `fail_next=2` makes the next two attempts fail, `POST /sim/issuer/revoke` ends all that was issued.

use std::sync::PoisonError;
use std::time::Duration;

use super::State;
use super::clock;
use super::federation;
use super::http::Head;
use super::proof::Issued;

const ROLE: &str = "weir-role";

/// Answers an endpoint of ours; `None` if it is none, or nothing is to be issued.
pub(super) fn answer(head: &Head, body: &[u8], state: &State) -> Option<(u16, Vec<u8>, &'static str)> {
    let life = state.proof.options.issued_life?;
    let (path, query) = head.target().split_once('?').unwrap_or((head.target(), ""));
    let mut issued = state.proof.issued.lock().unwrap_or_else(PoisonError::into_inner);
    let json = |text: String| Some((200, text.into_bytes(), ""));
    if let Some(told) = control(head.method(), path, query, &mut issued) {
        return json(told);
    }
    let plays = is_endpoint(head.method(), path);
    let fails = plays && (issued.failing || issued.fail_next > 0);
    if fails {
        issued.fail_next = issued.fail_next.saturating_sub(1);
        return Some((500, br#"{"error":"server_error","error_description":"simulated"}"#.to_vec(), ""));
    }
    if federation::is_endpoint(head.method(), path) {
        return Some(federation::answer(head, path, body, &mut issued, life));
    }
    let refuse = |what: &str| {
        Some((400, format!(r#"{{"error":"invalid_request","error_description":"{what}"}}"#).into_bytes(), ""))
    };
    let form = |name: &str| parameter(body, name);
    match (head.method(), path) {
        ("POST", "/sim/google/token") => match form("grant_type").as_deref() {
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer") if form("assertion").is_some_and(|a| is_jwt(&a)) => {
                json(issued.token("ya29.", life))
            }
            Some("refresh_token") if form("refresh_token").is_some() => json(issued.token("ya29.", life)),
            _ => refuse("no assertion"),
        },
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => match head.text("metadata-flavor") {
            Some("Google") => Some((200, issued.token("ya29.", life).into_bytes(), "Metadata-Flavor: Google\r\n")),
            _ => refuse("no Metadata-Flavor"),
        },
        ("POST", path) if path.ends_with("/oauth2/v2.0/token") => {
            let scope = form("scope").as_deref() == Some("https://ai.azure.com/.default");
            let proof = form("client_secret").or_else(|| form("client_assertion"));
            issued.shown = form("client_assertion").unwrap_or_default();
            match scope && form("client_id").is_some() && proof.is_some_and(|proof| proof != "wrong") {
                true => json(issued.token("eyJ0.", life)),
                false => refuse("AADSTS7000215: Invalid client secret provided."),
            }
        }
        ("PUT", "/latest/api/token") => {
            Some((200, b"imds-session".to_vec(), "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"))
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") => Some((200, ROLE.as_bytes().to_vec(), "")),
        ("GET", "/latest/meta-data/iam/security-credentials/weir-role") => {
            match head.text("x-aws-ec2-metadata-token") {
                Some("imds-session") => json(issued.aws_keys(life, "\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",")),
                _ => refuse("no session"),
            }
        }
        ("GET", "/sim/msi/token") => match (head.text("x-identity-header"), query.contains("resource=https")) {
            (Some(_), true) => json(issued.token("eyJ0.", life)),
            _ => refuse("no x-identity-header or resource"),
        },
        ("GET", "/sim/aws/credentials") => json(issued.aws_keys(life, "")),
        _ => None,
    }
}

/// The test's own endpoints: what was issued, what fails, what ends.
fn control(method: &str, path: &str, query: &str, issued: &mut Issued) -> Option<String> {
    let done = Some("{}".to_owned());
    match (method, path) {
        ("GET", "/sim/issuer") => {
            let Issued { count, shown, fail_next, .. } = issued;
            Some(format!(r#"{{"issued":{count},"shown":"{shown}","fail_next":{fail_next}}}"#))
        }
        ("PUT", "/sim/issuer") => {
            issued.failing = query == "fail=1";
            issued.fail_next = query.strip_prefix("fail_next=").and_then(|count| count.parse().ok()).unwrap_or(0);
            done
        }
        ("POST", "/sim/issuer/revoke") => {
            issued.tokens.clear();
            issued.aws.clear();
            done
        }
        _ => None,
    }
}

/// Does a request stay out of the books?
pub(super) fn is_apart(head: &Head) -> bool {
    let path = head.target().split('?').next().unwrap_or_default();
    path.starts_with("/sim/") || is_endpoint(head.method(), path)
}

fn is_endpoint(method: &str, path: &str) -> bool {
    match method {
        _ if federation::is_endpoint(method, path) => true,
        "POST" => path == "/sim/google/token" || path.ends_with("/oauth2/v2.0/token"),
        "PUT" => path == "/latest/api/token",
        "GET" => {
            matches!(path, "/sim/aws/credentials" | "/sim/msi/token")
                || path.starts_with("/computeMetadata/")
                || path.starts_with("/latest/")
        }
        _ => false,
    }
}

impl Issued {
    fn until(&mut self, life: Duration) -> (u64, u64) {
        self.count += 1;
        (self.count, clock::unix_ms() + life.as_millis() as u64)
    }

    /// A bearer token, and its end in Unix milliseconds.
    pub(super) fn bearer(&mut self, prefix: &str, life: Duration) -> (String, u64) {
        let (number, end) = self.until(life);
        let token = format!("{prefix}issued-token-{number}-{:016x}", fastrand::u64(..));
        self.tokens.insert(token.clone(), end);
        (token, end)
    }

    pub(super) fn token(&mut self, prefix: &str, life: Duration) -> String {
        let (token, _) = self.bearer(prefix, life);
        format!(r#"{{"access_token":"{token}","expires_in":{},"token_type":"Bearer"}}"#, life.as_secs().max(1))
    }

    /// Temporary keys: id, secret, session token, and their end in Unix milliseconds, a whole second.
    pub(super) fn aws_role(&mut self, life: Duration) -> (String, String, String, u64) {
        let (number, end) = self.until(life);
        let id = format!("ASIAISSUED{number:010}");
        let (secret, session) =
            (format!("issued-secret-{:016x}", fastrand::u64(..)), format!("issued-session-{number}"));
        let end = end.div_ceil(1000) * 1000;
        self.aws.insert(id.clone(), (secret.clone(), session.clone(), end));
        (id, secret, session, end)
    }

    fn aws_keys(&mut self, life: Duration, more: &str) -> String {
        let (id, secret, session, end) = self.aws_role(life);
        let expiration = clock::rfc3339(end / 1000);
        format!(
            r#"{{{more}"AccessKeyId":"{id}","SecretAccessKey":"{secret}","Token":"{session}","Expiration":"{expiration}"}}"#
        )
    }
}

/// A value of a form, decoded.
pub(super) fn parameter(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut out = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

fn is_jwt(text: &str) -> bool {
    text.split('.').count() == 3 && text.starts_with("eyJ")
}
