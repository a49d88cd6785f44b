//! Credentials that clouds hand out: each source is asked as its cloud's own clients ask it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::fixture::{AWS_ID, AWS_SECRET, start, start_before};
use crate::support::{DEADLINE, Provider, eventually};

pub const BEDROCK: &str = "provider = \"bedrock\"\nendpoint = \"messages\"\nregion = \"us-east-1\"\nauth = {}";
pub const VERTEX: &str = "provider = \"vertex\"\nregion = \"us-east5\"\nproject = \"p\"\nauth = {}";
pub const FOUNDRY: &str = "provider = \"foundry\"\nresource = \"r\"\nauth = { entra = true }";
pub const ENTRA: [(&str, &str); 4] = [
    ("AZURE_TENANT_ID", "tenant-1"),
    ("AZURE_CLIENT_ID", "client-1"),
    ("AZURE_CLIENT_SECRET", "entra-secret-of-the-tests"),
    ("AZURE_AUTHORITY_HOST", "http://SIM_ADDRESS"),
];
pub const METADATA: [(&str, &str); 1] = [("GCE_METADATA_HOST", "SIM_ADDRESS")];
pub const CONTAINER: [(&str, &str); 1] =
    [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://SIM_ADDRESS/sim/aws/credentials")];
const SIGNS: [&str; 4] = ["--sigv4", "us-east-1/bedrock", "--issue", "3600"];
const ISSUES: [&str; 2] = ["--issue", "3600"];

fn write(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn google_key(provider: &Provider, kind: &str) -> String {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let url = format!("{}/sim/google/token", provider.url());
    match kind {
        "service_account" => serde_json::json!({"type": kind, "client_email": "weir@p.iam.gserviceaccount.com",
            "private_key_id": "k1", "private_key": key.serialize_pem(), "token_uri": url, "project_id": "p"}),
        _ => serde_json::json!({"type": kind, "client_id": "c", "client_secret": "google-secret-of-the-tests",
            "refresh_token": "refresh-secret-of-the-tests", "token_uri": url}),
    }
    .to_string()
}

#[test]
fn a_source_of_the_aws_chain_is_not_asked() {
    let dir = TempDir::new().expect("a directory");
    let process = write(
        &dir,
        "process.sh",
        &format!(
            "#!/bin/sh\necho '{{\"Version\":1,\"AccessKeyId\":\"{AWS_ID}\",\"SecretAccessKey\":\"{AWS_SECRET}\"}}'\n"
        ),
    );
    fs::set_permissions(&process, fs::Permissions::from_mode(0o700)).expect("a mode");
    let config = write(&dir, "config", &format!("[profile made]\ncredential_process = {process}\n"));
    let shared = write(
        &dir,
        "credentials",
        &format!("[default]\naws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_SECRET}\n"),
    );
    let nowhere = dir.path().join("nowhere").display().to_string();
    let sources: [(&str, Vec<(&str, &str)>); 5] = [
        ("environment", vec![("AWS_ACCESS_KEY_ID", AWS_ID), ("AWS_SECRET_ACCESS_KEY", AWS_SECRET)]),
        ("shared file", vec![("AWS_SHARED_CREDENTIALS_FILE", &shared), ("AWS_CONFIG_FILE", &nowhere)]),
        ("process", vec![("AWS_CONFIG_FILE", &config), ("AWS_PROFILE", "made"), ("PATH", "/bin:/usr/bin")]),
        ("container", CONTAINER.to_vec()),
        ("instance", vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://SIM_ADDRESS")]),
    ];
    for (source, environment) in sources {
        let key = format!("{AWS_ID}:{AWS_SECRET}");
        let gateway = start(&[&SIGNS[..], &["--aws-key", &key]].concat(), BEDROCK, &environment);
        let answer = gateway.ask();
        assert_eq!(answer.status, 200, "{source}: {}\n{}", answer.text(), gateway.credential());
        let state = gateway.credential();
        assert_eq!((&state["credential"], &state["credential_valid"]), (&"aws_chain".into(), &true.into()), "{source}");
        let issued = matches!(source, "container" | "instance");
        assert_eq!(state["expires_at"].is_string(), issued, "{source}: {state}");
    }
}

#[test]
fn a_source_of_google_is_not_asked() {
    let gateway = start(&ISSUES, VERTEX, &METADATA);
    gateway.served();
    assert_eq!(gateway.credential()["credential"], "google_default");
    for kind in ["service_account", "authorized_user"] {
        let provider = Provider::start_with(&ISSUES);
        let dir = TempDir::new().expect("a directory");
        let file = write(&dir, "google.json", &google_key(&provider, kind));
        let gateway = start_before(provider, VERTEX, &[("GOOGLE_APPLICATION_CREDENTIALS", &file)]);
        gateway.served();
    }
    let provider = Provider::start_with(&ISSUES);
    let dir = TempDir::new().expect("a directory");
    let file = write(&dir, "sa.json", &google_key(&provider, "service_account"));
    let named = VERTEX.replace("{}", &format!("{{ service_account = \"{file}\" }}"));
    let gateway = start_before(provider, &named, &[]);
    gateway.served();
    assert_eq!(gateway.credential()["credential"], "google_service_account");
    assert_eq!(gateway.issued(), 1, "one token serves all requests");
}

#[test]
fn a_source_of_azure_is_not_asked() {
    let gateway = start(&ISSUES, FOUNDRY, &ENTRA);
    gateway.served();
    assert_eq!(gateway.credential()["credential"], "entra");
    let dir = TempDir::new().expect("a directory");
    let token = write(&dir, "token", "eyJhbGciOi.workload.token\n");
    let mut federated = ENTRA.to_vec();
    federated[2] = ("AZURE_FEDERATED_TOKEN_FILE", &token);
    start(&ISSUES, FOUNDRY, &federated).served();
    let managed = [("IDENTITY_ENDPOINT", "http://SIM_ADDRESS/sim/msi/token"), ("IDENTITY_HEADER", "h")];
    start(&ISSUES, FOUNDRY, &managed).served();
}

#[test]
fn a_source_that_refuses_keeps_weir_from_starting_or_is_not_told() {
    let mut wrong = ENTRA;
    wrong[2].1 = "wrong";
    let gateway = start(&ISSUES, FOUNDRY, &wrong);
    crate::fixed::refused(&gateway, "no token");
    let state = eventually(DEADLINE, "the reason is shown", || {
        Some(gateway.credential()).filter(|state| state["last_error"].is_string())
    });
    assert_eq!(state["credential_valid"], false);
    assert!(state["last_error"].as_str().is_some_and(|error| error.contains("AADSTS7000215")), "{state}");
}
