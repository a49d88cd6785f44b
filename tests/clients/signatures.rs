//! What weir signs for AWS, judged by the signer that AWS's own Python clients use.

use std::path::Path;

use crate::gateway::{ALICE_KEY, home};
use crate::install::clients_dir;
use crate::sandbox::{client, isolated};
use crate::support::http::{Response, request};
use crate::support::process::Server;
use crate::support::{DEADLINE, LOOPBACK, Weir};

const KEY_ID: &str = "AKIAWEIRTESTEXAMPLE1";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEBYaDH//weir+session==";
const PROFILE: &str = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6";

/// A verifier that knows this secret, and a gateway that signs with [`SECRET`] for it.
fn start(secret: &str) -> (Server, Weir) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/verify_sigv4.py");
    let mut command = client(&clients_dir().join("python/bin/python").to_string_lossy());
    command.arg("-I").arg(script).args([KEY_ID, secret, TOKEN]);
    let verifier = Server::spawn(command, &home().join("verifier.log"), "verifier on ", DEADLINE);
    let config = format!(
        r#"{LOOPBACK}
[[upstream]]
name = "bedrock"
provider = "bedrock"
region = "eu-west-1"
base_url = "http://{}"
auth = {{ access_key_id = "${{AWS_ID}}", secret_access_key = "${{AWS_SECRET}}", session_token = "${{AWS_TOKEN}}" }}

[[key]]
id = "dev-alice"
secret = "${{ALICE_KEY}}"
user = "alice@example.com"

[[model]]
id = "claude-sonnet-4-6"
targets = [{{ upstream = "bedrock" }}]

[[model]]
id = "profile"
aliases = ["{PROFILE}"]
targets = [{{ upstream = "bedrock", model = "{PROFILE}" }}]
"#,
        verifier.address("verifier on ")
    );
    let secrets = [("ALICE_KEY", ALICE_KEY), ("AWS_ID", KEY_ID), ("AWS_SECRET", SECRET), ("AWS_TOKEN", TOKEN)];
    (verifier, Weir::start_with(&config, &secrets))
}

fn ask(weir: &Weir, path: &str, body: &str) -> Response {
    let bearer = format!("Bearer {ALICE_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("x-amzn-bedrock-trace", "ENABLED"),
    ];
    request(weir.clients(), "POST", path, &headers, body.as_bytes())
}

#[test]
fn botocore_signs_otherwise() {
    isolated(|| {
        let (_verifier, weir) = start(SECRET);
        let said = |text: &str| format!(r#"[{{"role":"user","content":"{text}"}}]"#);
        let of_bedrock = |text: &str| {
            format!(r#"{{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":{}}}"#, said(text))
        };
        let raw = "/model/eu.anthropic.claude-sonnet-4-6/invoke".to_owned();
        let escaped = format!("/model/{}/invoke", PROFILE.replace(':', "%3A").replace('/', "%2F"));
        let half = format!("/bedrock/model/{}/invoke", PROFILE.replace('/', "%2F"));
        for path in [&raw, &escaped, &half] {
            for text in ["short".to_owned(), "ünï¢ode + %2F ~ ".repeat(9), "long ".repeat(90_000)] {
                let answer = ask(&weir, path, &of_bedrock(&text));
                assert!(answer.status == 200 && answer.text().contains("verified"), "{path}: {}", answer.text());
            }
        }
        // Of a Messages client, in the bridge's words and under the platform's own id.
        for model in ["claude-sonnet-4-6", "profile"] {
            let body = format!(r#"{{"model":"{model}","max_tokens":9,"messages":{}}}"#, said("bridged"));
            let answer = ask(&weir, "/v1/messages?beta=true", &body);
            assert!(answer.status == 200 && answer.text().contains("verified"), "{model}: {}", answer.text());
        }
        let body = format!(r#"{{"model":"claude-sonnet-4-6","messages":{}}}"#, said("counted"));
        let answer = ask(&weir, "/v1/messages/count_tokens", &body);
        assert!(answer.status == 200 && answer.text().contains('3'), "{}", answer.text());
    });
}

#[test]
fn the_verifier_takes_any_signature() {
    isolated(|| {
        let (_verifier, weir) = start("another/secret+of+the+same+length+EXAMPLEKEY");
        let body =
            r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"no"}]}"#;
        let answer = ask(&weir, "/model/eu.anthropic.claude-sonnet-4-6/invoke", body);
        assert!(answer.status == 403 && answer.text().contains("signs otherwise"), "{}", answer.text());
    });
}
