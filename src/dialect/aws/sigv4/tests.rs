//! Against the vendor's own signer, on random requests; and the example of AWS's documentation.

use super::*;
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn keys(token: Option<&str>) -> AwsKeys {
    AwsKeys {
        access_key_id: ID.into(),
        secret_access_key: Secret::new(SECRET.into()),
        session_token: token.map(|token| Secret::new(token.into())),
    }
}

/// The value of `authorization` that we write.
fn ours(head: &str, body: &[u8], token: Option<&str>, scope: &SigningScope, seconds: i64) -> String {
    let keys = keys(token);
    let time = AmzTime::of(seconds);
    let key = SigningKey::derive(&keys.secret_access_key, scope, time);
    let mut out = head.as_bytes().to_vec();
    let hash = digest::digest(&digest::SHA256, body);
    sign(&mut out, &Signing { keys: &keys, scope, key: &key, time, payload_sha256: hash.as_ref() });
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(head), "what was there is as it was");
    let last = text.trim_end().lines().last().unwrap();
    last.strip_prefix("authorization: ").unwrap().to_owned()
}

/// The value that the vendor's signer writes for the headers that we sign.
fn theirs(
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
    token: Option<&str>,
    scope: &SigningScope,
    seconds: i64,
) -> String {
    let identity = Credentials::new(ID, SECRET, token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(scope.service)
        .time(UNIX_EPOCH + Duration::from_secs(seconds as u64))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let signed: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| is_signed(name.to_ascii_lowercase().as_bytes()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let url = format!("https://{}{target}", headers[0].1);
    let request = SignableRequest::new(method, url, signed.into_iter(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = aws_sigv4::http_request::sign(request, &params).unwrap().into_parts();
    let value = instructions.headers().find(|(name, _)| *name == "authorization").map(|(_, value)| value.to_owned());
    value.unwrap()
}

fn bedrock() -> SigningScope {
    SigningScope { region: "us-east-1".into(), service: "bedrock" }
}

fn head(method: &str, target: &str, headers: &[(String, String)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\n{lines}")
}

fn compare(method: &str, target: &str, more: &[(&str, &str)], body: &[u8], token: Option<&str>) {
    let mut headers = vec![("host".to_owned(), "bedrock-runtime.us-east-1.amazonaws.com".to_owned())];
    headers.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let at = 1_795_266_061;
    let own = ours(&head(method, target, &headers), body, token, &bedrock(), at);
    assert_eq!(own, theirs(method, target, &headers, body, token, &bedrock(), at), "{method} {target} {more:?}");
}

#[test]
fn a_model_id_in_a_path_breaks_the_signature() {
    for model in [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-sonnet-4-5-20250929-v1%3A0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-sonnet-4-6",
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc",
        "a@b%40c~d_e.f",
    ] {
        compare("POST", &format!("/model/{model}/invoke"), &[], b"{}", None);
    }
}

#[test]
fn an_option_of_bedrock_goes_up_unsigned() {
    let options = [
        ("content-type", "application/json"),
        ("X-Amzn-Bedrock-GuardrailIdentifier", "gr-1"),
        ("x-amzn-bedrock-service-tier", "  priority   tier "),
        ("x-amzn-trace-id", "Root=1"),
        ("user-agent", "x"),
        ("traceparent", "00-1"),
        ("anthropic-beta", "a,b"),
        ("anthropic-beta", "c"),
    ];
    compare("POST", "/anthropic/v1/messages?beta=true", &options, b"{\"a\":1}", Some("session/token=="));
    let headers: Vec<(String, String)> = options.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let own = ours(&head("POST", "/x", &headers), b"", None, &bedrock(), 0);
    let signed = "SignedHeaders=anthropic-beta;content-type;x-amz-date;x-amzn-bedrock-guardrailidentifier;x-amzn-bedrock-service-tier,";
    assert!(own.contains(signed), "{own}");
}

#[test]
fn a_key_of_yesterday_signs_today() {
    let scope = bedrock();
    let evening = AmzTime::of(1_795_305_599);
    let morning = AmzTime::of(1_795_305_600);
    let key = SigningKey::derive(&keys(None).secret_access_key, &scope, evening);
    assert!(key.is_for(evening) && !key.is_for(morning));
    assert_eq!((&evening.0, &morning.0), (b"20261121T235959Z", b"20261122T000000Z"));
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[A-Za-z0-9._~!$&'()*+,;=:@-]{0,12}|%[0-9A-F]{2}|\\.|\\.\\.", 0..6)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn query() -> impl Strategy<Value = String> {
    // Octets beyond ASCII stay as they are with us; the vendor's signer puts a replacement character in their place.
    let word = "([A-Za-z0-9._~+:@-]|%[2-7][0-9A-Fa-f]){0,6}";
    proptest::collection::vec((word, proptest::option::of(word)), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs
            .into_iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name,
            })
            .collect();
        pairs.join("&")
    })
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = proptest::sample::select(vec![
        "content-type",
        "X-Amzn-Bedrock-Trace",
        "x-amzn-bedrock-performanceconfig-latency",
        "anthropic-version",
        "anthropic-beta",
        "Anthropic-Workspace-Id",
        "user-agent",
        "accept",
        "baggage",
    ]);
    let value = "[!-~]( {0,3}[!-~]{1,8}){0,4}";
    proptest::collection::vec((name.prop_map(str::to_owned), value), 0..8)
}

proptest! {
    #[test]
    fn a_signature_differs_from_the_vendors(
        method in proptest::sample::select(vec!["GET", "POST"]),
        path in path(),
        query in query(),
        more in headers(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        token in proptest::option::of("[A-Za-z0-9/+=]{1,40}"),
        region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
        service in proptest::sample::select(vec!["bedrock", "bedrock-mantle", "aws-external-anthropic"]),
        seconds in 0i64..4_000_000_000,
    ) {
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut headers = vec![("host".to_owned(), "host.example:8443".to_owned())];
        headers.extend(more);
        let scope = SigningScope { region: region.as_str().into(), service };
        let token = token.as_deref();
        let own = ours(&head(method, &target, &headers), &body, token, &scope, seconds);
        prop_assert_eq!(own, theirs(method, &target, &headers, &body, token, &scope, seconds), "{} {:?}", target, headers);
    }
}
