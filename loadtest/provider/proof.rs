//! Who may ask: keys, bearer tokens that are still good, signatures of AWS. What is refused is said as each provider says it
//! (contract.md §2.5).
//!
//! Signatures are checked by the vendor's own signer, which shares no code with weir's.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};

use super::clock;
use super::http::Head;

/// How far a signature's time may be off. Seconds.
const CLOCK_TOLERANCE_SECONDS: u64 = 300;

/// What a provider accepts.
#[derive(Debug, Clone, Default)]
pub struct ProofOptions {
    /// Region and service that signatures must be for; none are accepted without.
    pub sigv4: Option<(String, String)>,
    /// Keys of AWS that stay as they are, id and secret.
    pub aws_keys: Vec<(String, String)>,
    /// Accepts what the provider's own token endpoints issue; they live so long.
    pub issued_life: Option<Duration>,
}

/// A refusal, as the provider in question says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Whole header lines.
    pub(super) lines: String,
    /// Its own body; `None` for Anthropic's with this message.
    pub(super) body: Option<Vec<u8>>,
    pub(super) message: &'static str,
}

/// What was issued, until when it is good, Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Issued {
    /// Bearer tokens.
    pub(super) tokens: HashMap<String, u64>,
    /// Temporary keys by id: secret, session token, end.
    pub(super) aws: HashMap<String, (String, String, u64)>,
    /// How many in all.
    pub(super) count: u64,
    /// The endpoints answer 500.
    pub(super) failing: bool,
    /// So many further attempts are answered with 500.
    pub(super) fail_next: u32,
    /// What the last caller showed as another platform's word for it.
    pub(super) shown: String,
}

/// What a provider knows of credentials.
#[derive(Debug, Default)]
pub(super) struct Proof {
    api_keys: Vec<String>,
    pub(super) options: ProofOptions,
    pub(super) issued: Mutex<Issued>,
}

impl Proof {
    pub(super) fn new(api_keys: Vec<String>, options: ProofOptions) -> Proof {
        Proof { api_keys, options, issued: Mutex::default() }
    }

    /// Does everybody get in?
    fn is_open(&self) -> bool {
        self.api_keys.is_empty() && self.options.sigv4.is_none() && self.options.issued_life.is_none()
    }

    /// May this request be answered?
    pub(super) fn check(&self, head: &Head, body: &[u8]) -> Result<(), Refusal> {
        if self.is_open() || head.method() == "HEAD" {
            return Ok(());
        }
        let authorization = head.text("authorization").unwrap_or_default();
        if let Some(signature) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") {
            return self.check_signature(head, body, signature).map_err(|(name, message)| aws(name, message));
        }
        let key = head.text("x-api-key").or_else(|| head.text("api-key"));
        let bearer = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let given = key.or(bearer.map(|(_, token)| token.trim()));
        match given {
            Some(given) if self.api_keys.iter().any(|known| known == given) => Ok(()),
            Some(given) if self.is_issued(given) => Ok(()),
            given => Err(refusal(head.target(), given.is_some(), self.options.sigv4.is_some())),
        }
    }

    fn is_issued(&self, token: &str) -> bool {
        let issued = self.issued.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        issued.tokens.get(token).is_some_and(|end| clock::unix_ms() < *end)
    }

    fn check_signature(&self, head: &Head, body: &[u8], signature: &str) -> Result<(), (&'static str, &'static str)> {
        const INVALID: &str = "InvalidSignatureException";
        const INCOMPLETE: &str = "IncompleteSignatureException";
        let part = |name: &str| signature.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let (credential, names) = (part("Credential"), part("SignedHeaders"));
        let (Some(credential), Some(names)) = (credential, names) else {
            return Err((INCOMPLETE, "Authorization header requires Credential, SignedHeaders and Signature."));
        };
        let scope: Vec<&str> = credential.split('/').collect();
        let [id, date, region, service, "aws4_request"] = scope[..] else {
            return Err((INCOMPLETE, "Credential should be scoped with a valid terminator: 'aws4_request'."));
        };
        let Some((wanted_region, wanted_service)) = &self.options.sigv4 else {
            return Err(("UnrecognizedClientException", "This endpoint takes no signatures."));
        };
        if region != wanted_region || service != wanted_service {
            return Err((INVALID, "Credential should be scoped to a valid region and to the correct service."));
        }
        let (secret, token) = self.aws_key(id, head.text("x-amz-security-token"))?;
        let at = head.text("x-amz-date").unwrap_or_default();
        let Some(time) = amz_time(at).filter(|_| at.starts_with(date)) else {
            return Err((
                INCOMPLETE,
                "Date must be in ISO-8601 'basic format', and the day of the credential's scope.",
            ));
        };
        if time.abs_diff(clock::unix_ms() / 1000) > CLOCK_TOLERANCE_SECONDS {
            return Err((INVALID, "Signature expired: the time is not within 15 min. of the service's."));
        }
        let names: Vec<&str> = names.split(';').collect();
        if head.fields().any(|(name, _)| must_be_signed(name) && !names.contains(&name.to_ascii_lowercase().as_str())) {
            return Err((INVALID, "There were headers present in the request which were not signed."));
        }
        let expected = sign(head, body, &names, &Signer { id, secret: &secret, token, region, service, time });
        match expected.is_some_and(|expected| expected == format!("AWS4-HMAC-SHA256 {signature}")) {
            true => Ok(()),
            false => Err((INVALID, "The request signature we calculated does not match the signature you provided.")),
        }
    }

    /// The secret behind an id, and the session token if it needs one.
    fn aws_key(&self, id: &str, token: Option<&str>) -> Result<(String, Option<String>), (&'static str, &'static str)> {
        if let Some((_, secret)) = self.options.aws_keys.iter().find(|(known, _)| known == id) {
            return Ok((secret.clone(), token.map(str::to_owned)));
        }
        let issued = self.issued.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match issued.aws.get(id) {
            Some((secret, session, end)) if token == Some(session.as_str()) => match clock::unix_ms() < *end {
                true => Ok((secret.clone(), Some(session.clone()))),
                false => Err(("ExpiredTokenException", "The security token included in the request is expired")),
            },
            _ => Err(("UnrecognizedClientException", "The security token included in the request is invalid.")),
        }
    }
}

struct Signer<'a> {
    id: &'a str,
    secret: &'a str,
    token: Option<String>,
    region: &'a str,
    service: &'a str,
    time: u64,
}

/// The whole `authorization` that the vendor's signer writes for the headers that were signed.
fn sign(head: &Head, body: &[u8], names: &[&str], with: &Signer<'_>) -> Option<String> {
    // The signer adds these by itself.
    let own = ["x-amz-date", "x-amz-security-token"];
    let texts: Vec<(String, String)> = head
        .fields()
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()))
        .filter(|(name, _)| names.contains(&name.as_str()) && !own.contains(&name.as_str()))
        .collect();
    let identity = Credentials::new(with.id, with.secret, with.token.clone(), None, "simulated").into();
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(with.region)
        .name(with.service)
        .time(UNIX_EPOCH + Duration::from_secs(with.time))
        .settings(settings)
        .build()
        .ok()?
        .into();
    let url = format!("http://{}{}", head.text("host")?, head.target());
    let headers = texts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(head.method(), url, headers, SignableBody::Bytes(body)).ok()?;
    let (instructions, _) = aws_sigv4::http_request::sign(request, &parameters).ok()?.into_parts();
    instructions.headers().find(|(name, _)| *name == "authorization").map(|(_, value)| value.to_owned())
}

fn must_be_signed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "host" || name.starts_with("x-amz-") || name.starts_with("x-amzn-bedrock-")
}

/// `20261121T130601Z` as Unix seconds.
fn amz_time(text: &str) -> Option<u64> {
    let at = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", text).ok()?.to_datetime().ok()?;
    u64::try_from(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

fn aws(name: &str, message: &'static str) -> Refusal {
    let lines = format!("x-amzn-ErrorType: {name}\r\nx-amzn-requestid: 00000000-0000-4000-8000-000000000000\r\n");
    Refusal { status: 403, lines, body: Some(format!(r#"{{"message":"{message}"}}"#).into_bytes()), message }
}

/// A bad or missing credential that is no signature.
fn refusal(target: &str, given: bool, signs: bool) -> Refusal {
    if signs || target.starts_with("/model/") {
        return match given {
            true => aws("UnrecognizedClientException", "The security token included in the request is invalid."),
            false => aws("MissingAuthenticationTokenException", "Missing Authentication Token"),
        };
    }
    if target.starts_with("/v1/projects/") {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token.";
        let body = format!(r#"{{"error":{{"code":401,"message":"{message}","status":"UNAUTHENTICATED"}}}}"#);
        return Refusal { status: 401, lines: String::new(), body: Some(body.into_bytes()), message };
    }
    let message = if given { "invalid x-api-key" } else { "x-api-key header is required" };
    Refusal { status: 401, lines: String::new(), body: None, message }
}
