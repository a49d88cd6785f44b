//! Credentials for somebody else's word: roles, logins and workloads. Each source is asked as its cloud's own clients ask it, and a
//! renewal is no request's trouble.

use std::fs;
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::fixture::{AWS_ID, AWS_SECRET, Gateway, start, start_before};
use crate::minted::{BEDROCK, CONTAINER, ENTRA, FOUNDRY, VERTEX};
use crate::renewal::serves_until_issued;
use crate::support::{DEADLINE, Provider, eventually};

const PLATFORM: &str = "provider = \"anthropic_aws\"\nregion = \"us-east-1\"\nworkspace_id = \"wrkspc_01\"\nauth = {}";
const BEDROCK_SIGNS: [&str; 2] = ["--sigv4", "us-east-1/bedrock"];
const PLATFORM_SIGNS: [&str; 2] = ["--sigv4", "us-east-1/aws-external-anthropic"];
const ENTRA_TOKEN: [(&str, &str); 3] = [ENTRA[0], ENTRA[1], ENTRA[3]];

/// A way to a credential: what stands in files and environment, below a directory of its own.
struct Source {
    name: &'static str,
    upstream: &'static str,
    signs: &'static [&'static str],
    environment: Vec<(&'static str, String)>,
    dir: TempDir,
}

impl Source {
    fn new(name: &'static str, upstream: &'static str, signs: &'static [&'static str]) -> Source {
        Source { name, upstream, signs, environment: Vec::new(), dir: TempDir::new().expect("a directory") }
    }

    fn with(mut self, name: &'static str, value: &str) -> Source {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// A variable that names a file.
    fn file(self, variable: &'static str, name: &str, text: &str) -> Source {
        let path = self.write(name, text);
        self.with(variable, &path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn start(&self, life: &str) -> Gateway {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        start(&[self.signs, &["--issue", life]].concat(), self.upstream, &environment)
    }
}

fn web_identity() -> Source {
    Source::new("web identity", BEDROCK, &BEDROCK_SIGNS)
        .file("AWS_WEB_IDENTITY_TOKEN_FILE", "token", "eyJhbGciOi.first.token")
        .with("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gateway")
        .with("AWS_ROLE_SESSION_NAME", "weir")
        .with("AWS_ENDPOINT_URL_STS", "http://SIM_ADDRESS/sim/aws/sts")
}

fn assumed_role() -> Source {
    let config = "[profile base]\nregion = us-east-1\n[profile gateway]\nregion = us-east-1\nrole_session_name = weir\n\
                  role_arn = arn:aws:iam::123456789012:role/gateway\nsource_profile = base\n";
    let keys = format!("[base]\naws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_SECRET}\n");
    Source::new("assumed role", BEDROCK, &BEDROCK_SIGNS)
        .file("AWS_CONFIG_FILE", "config", config)
        .file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &keys)
        .with("AWS_PROFILE", "gateway")
        .with("AWS_ENDPOINT_URL_STS", "http://SIM_ADDRESS/sim/aws/sts")
}

fn single_sign_on() -> Source {
    const START: &str = "https://corp.awsapps.com/start";
    let config = format!(
        "[profile gateway]\nsso_start_url = {START}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = Gateway\n\
         region = us-east-1\n"
    );
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, START.as_bytes());
    let name: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!(
        r#"{{"accessToken":"sso-token-of-the-tests","expiresAt":"2099-01-01T00:00:00Z","region":"us-east-1","startUrl":"{START}"}}"#
    );
    let source = Source::new("single sign-on", BEDROCK, &BEDROCK_SIGNS);
    source.write(&format!(".aws/sso/cache/{name}.json"), &token);
    let home = source.dir.path().display().to_string();
    source
        .file("AWS_CONFIG_FILE", "config", &config)
        .with("AWS_PROFILE", "gateway")
        .with("HOME", &home)
        .with("AWS_ENDPOINT_URL_SSO", "http://SIM_ADDRESS/sim/aws/sso")
}

fn platform_container() -> Source {
    Source::new("AWS platform", PLATFORM, &PLATFORM_SIGNS).with(CONTAINER[0].0, CONTAINER[0].1)
}

fn entra_workload() -> Source {
    let source =
        Source::new("Entra workload", FOUNDRY, &[]).file("AZURE_FEDERATED_TOKEN_FILE", "token", "eyJ.first.token");
    ENTRA_TOKEN.into_iter().fold(source, |source, (name, value)| source.with(name, value))
}

#[test]
fn a_role_or_a_login_of_aws_is_not_asked() {
    for (source, shown) in [
        (web_identity(), "eyJhbGciOi.first.token"),
        (assumed_role(), "signed"),
        (single_sign_on(), "sso-token-of-the-tests"),
        (platform_container(), ""),
    ] {
        let gateway = source.start("3600");
        let answer = gateway.ask();
        assert_eq!(answer.status, 200, "{}: {}\n{}", source.name, answer.text(), gateway.credential());
        let state = gateway.credential();
        assert!(state["expires_at"].is_string() && state["credential_valid"] == true, "{}: {state}", source.name);
        assert_eq!(gateway.issuer("GET", "/sim/issuer")["shown"], shown, "{}", source.name);
    }
}

/// A configuration of Google's for a workload of another platform; endpoints are the provider's.
fn external_account(provider: &Provider, source: &serde_json::Value, impersonates: bool) -> String {
    let url = provider.url();
    let mut config = serde_json::json!({
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{url}/sim/google/sts"),
        "credential_source": source,
    });
    if impersonates {
        config["service_account_impersonation_url"] = format!("{url}/sim/google/impersonate").into();
    }
    config.to_string()
}

fn google_workload(life: &str, source: &serde_json::Value, impersonates: bool, dir: &Path) -> Gateway {
    let provider = Provider::start_with(&["--issue", life]);
    let text = external_account(&provider, source, impersonates);
    let file = dir.join("workload.json");
    fs::write(&file, text.replace("SIM_URL", &provider.url())).expect("a file");
    start_before(provider, VERTEX, &[("GOOGLE_APPLICATION_CREDENTIALS", &file.display().to_string())])
}

#[test]
fn a_workload_of_google_is_not_asked() {
    let dir = TempDir::new().expect("a directory");
    let token = dir.path().join("token");
    fs::write(&token, "{\"id_token\":\"subject-by-file\"}").expect("a file");
    let json = |field: &str| serde_json::json!({"type": "json", "subject_token_field_name": field});
    let by_file = serde_json::json!({"file": token, "format": json("id_token")});
    let by_url = serde_json::json!({"url": "SIM_URL/sim/google/subject", "headers": {"metadata": "true"}, "format": json("token")});
    for (source, impersonates, shown) in
        [(&by_file, false, "subject-by-file"), (&by_file, true, "subject-by-file"), (&by_url, true, "subject-by-url")]
    {
        let gateway = google_workload("3600", source, impersonates, dir.path());
        let answer = gateway.ask();
        assert_eq!(answer.status, 200, "{source}: {}\n{}", answer.text(), gateway.credential());
        let state = gateway.issuer("GET", "/sim/issuer");
        assert_eq!(
            (&state["shown"], &state["issued"]),
            (&shown.into(), &(1 + u64::from(impersonates)).into()),
            "{source}"
        );
    }
}

#[test]
fn a_request_fails_while_a_role_or_a_workload_is_renewed() {
    let dir = TempDir::new().expect("a directory");
    let token = dir.path().join("token");
    fs::write(&token, "subject").expect("a file");
    let by_file = serde_json::json!({"file": token});
    let serves = |source: &Source| {
        let served = serves_until_issued(&source.start("5"), 3);
        assert!(served > 5, "{}: {served} served", source.name);
    };
    // Two gateways at a time: their rings are locked memory, of which a host gives out little.
    thread::scope(|scope| {
        scope.spawn(|| [web_identity(), assumed_role()].iter().for_each(serves));
        scope.spawn(|| {
            [platform_container(), entra_workload()].iter().for_each(serves);
            assert!(serves_until_issued(&google_workload("5", &by_file, true, dir.path()), 6) > 5);
        });
    });
}

#[test]
fn a_token_endpoint_that_fails_twice_fails_a_request() {
    thread::scope(|scope| {
        for source in [web_identity(), entra_workload()] {
            scope.spawn(move || {
                let gateway = source.start("9");
                gateway.served();
                // The next two attempts to renew it fail, well before its end.
                gateway.issuer("PUT", "/sim/issuer?fail_next=2");
                let served = serves_until_issued(&gateway, 2);
                // AWS's own client tries again by itself, weir does for the others.
                let state = gateway.issuer("GET", "/sim/issuer");
                assert!(state["fail_next"] == 0 && served > 5, "{}: {state}, {served} served", source.name);
            });
        }
    });
}

#[test]
fn a_token_file_is_read_once_and_never_again() {
    thread::scope(|scope| {
        for source in [web_identity(), entra_workload()] {
            scope.spawn(move || {
                let gateway = source.start("4");
                gateway.served();
                // The platform replaces the file, and the next exchange shows what is in it then.
                source.write("token", "eyJ.second.token");
                eventually(DEADLINE, "the new token is shown", || {
                    (gateway.issuer("GET", "/sim/issuer")["shown"] == "eyJ.second.token").then_some(())
                });
                gateway.served();
            });
        }
    });
}
