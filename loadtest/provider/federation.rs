//! Endpoints that take another platform's word for who asks: AWS's STS and SSO portal, Google's token exchange and
//! impersonation (contract.md §5.3, §5.4). `issuer` has the rest.

use super::clock;
use super::http::Head;
use super::issuer::parameter;
use super::proof::Issued;

/// An answer: status, body, header lines.
pub(super) type Issue = (u16, Vec<u8>, &'static str);

const XML: &str = "x-amzn-requestid: 8f2c1d3e-0000-4000-8000-000000000001\r\n";

/// Is it one of these endpoints?
pub(super) fn is_endpoint(method: &str, path: &str) -> bool {
    match method {
        "POST" => matches!(path, "/sim/aws/sts/" | "/sim/aws/sts" | "/sim/google/sts" | "/sim/google/impersonate"),
        "GET" => matches!(path, "/sim/aws/sso/federation/credentials" | "/sim/google/subject"),
        _ => false,
    }
}

/// Answers it. What was shown as the caller's proof is kept, so that a test sees whether a new one is read.
pub(super) fn answer(head: &Head, path: &str, body: &[u8], issued: &mut Issued, life: std::time::Duration) -> Issue {
    let form = |name: &str| parameter(body, name);
    let no =
        |what: &str| (400, format!(r#"{{"error":"invalid_request","error_description":"{what}"}}"#).into_bytes(), "");
    match path {
        "/sim/aws/sts/" | "/sim/aws/sts" => sts(head, body, issued, life),
        "/sim/aws/sso/federation/credentials" => {
            let Some(token) = head.text("x-amz-sso_bearer_token") else { return no("no x-amz-sso_bearer_token") };
            issued.shown = token.to_owned();
            let (id, secret, session, end) = issued.aws_role(life);
            let body = format!(
                r#"{{"roleCredentials":{{"accessKeyId":"{id}","secretAccessKey":"{secret}","sessionToken":"{session}","expiration":{end}}}}}"#
            );
            (200, body.into_bytes(), "")
        }
        "/sim/google/subject" => match head.text("metadata") {
            Some("true") => (200, br#"{"token":"subject-by-url"}"#.to_vec(), ""),
            _ => no("no metadata header"),
        },
        "/sim/google/sts" => {
            let exchange = form("grant_type").as_deref() == Some("urn:ietf:params:oauth:grant-type:token-exchange");
            match form("subject_token").filter(|token| exchange && !token.is_empty() && form("audience").is_some()) {
                Some(token) => {
                    issued.shown = token;
                    (200, issued.token("ya29.", life).into_bytes(), "")
                }
                None => no("no token exchange"),
            }
        }
        "/sim/google/impersonate" => {
            let bearer = head.text("authorization").and_then(|value| value.strip_prefix("Bearer "));
            if !bearer.is_some_and(|bearer| issued.tokens.contains_key(bearer)) {
                return (401, br#"{"error":{"code":401,"status":"UNAUTHENTICATED"}}"#.to_vec(), "");
            }
            let (token, end) = issued.bearer("ya29.imp.", life);
            let end = clock::rfc3339(end.div_ceil(1000));
            (200, format!(r#"{{"accessToken":"{token}","expireTime":"{end}"}}"#).into_bytes(), "")
        }
        _ => no("no endpoint"),
    }
}

fn sts(head: &Head, body: &[u8], issued: &mut Issued, life: std::time::Duration) -> Issue {
    let form = |name: &str| parameter(body, name);
    let action = form("Action").unwrap_or_default();
    let authorization = head.text("authorization").unwrap_or_default();
    let proof = match &*action {
        "AssumeRole" if authorization.contains("/sts/aws4_request") => Some("signed".to_owned()),
        "AssumeRoleWithWebIdentity" if authorization.is_empty() => form("WebIdentityToken"),
        _ => None,
    };
    let (Some(proof), Some(_), Some(_)) = (proof, form("RoleArn"), form("RoleSessionName")) else {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no proof</Message></Error></ErrorResponse>";
        return (403, error.as_bytes().to_vec(), XML);
    };
    issued.shown = proof;
    let (id, secret, session, end) = issued.aws_role(life);
    let end = clock::rfc3339(end / 1000);
    let text = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{session}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
    );
    (200, text.into_bytes(), XML)
}
