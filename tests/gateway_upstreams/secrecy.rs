//! No credential of an upstream is ever in a log, an answer, a record or a file of the store, whatever the log level.

use std::fs;
use std::path::Path;

use crate::fixture::{AWS_ID, AWS_SECRET, start};
use crate::minted::{BEDROCK, CONTAINER, ENTRA, FOUNDRY};

/// Parts of everything secret that the tests' clouds issue or are shown.
const SECRETS: [&str; 5] =
    ["issued-token-", "issued-secret-", "issued-session-", "entra-secret-of-the-tests", AWS_SECRET];

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all
}

#[test]
fn a_credential_of_an_upstream_is_written_down() {
    let signs = ["--issue", "2", "--sigv4", "us-east-1/bedrock"];
    let keys = BEDROCK.replace("{}", "{ access_key_id = \"${AWS_ID}\", secret_access_key = \"${AWS_SECRET}\" }");
    let own = format!("{AWS_ID}:{AWS_SECRET}");
    let with_keys = ["--sigv4", "us-east-1/bedrock", "--aws-key", &own];
    for (arguments, upstream, environment) in [
        (&signs[..], BEDROCK, &CONTAINER[..]),
        (&["--issue", "2"][..], FOUNDRY, &ENTRA[..]),
        (&with_keys[..], keys.as_str(), &[("AWS_ID", AWS_ID), ("AWS_SECRET", AWS_SECRET)][..]),
    ] {
        let environment = [environment, &[("WEIR_LOG", "trace")]].concat();
        let mut gateway = start(arguments, upstream, &environment);
        let mut said = String::new();
        gateway.served();
        if upstream != keys {
            gateway.issuer("POST", "/sim/issuer/revoke");
            said.push_str(&gateway.ask().text());
            gateway.issuer("PUT", "/sim/issuer?fail=1");
            said.push_str(&gateway.ask().text());
        }
        for path in ["upstreams", "requests", "usage", "shards", "keys"] {
            said.push_str(&gateway.weir.admin_request("GET", &format!("/admin/v1/{path}"), b"").text());
        }
        said.push_str(&crate::support::http::request(gateway.weir.admin(), "GET", "/metrics", &[], b"").text());
        gateway.weir.sigterm();
        assert_eq!(gateway.weir.wait_for_exit(), Some(0));
        said.push_str(&gateway.weir.log());
        for file in files(&gateway.weir.dir().join("weir-data")) {
            said.push_str(&String::from_utf8_lossy(&fs::read(file).expect("a file")));
        }
        let talkative = said.contains("\"level\":\"TRACE\"");
        assert!(talkative || upstream == keys, "whoever mints is heard at every level");
        for secret in SECRETS {
            let at = said.find(secret);
            assert!(at.is_none(), "{upstream}: …{}…", at.map_or("", |at| &said[at.saturating_sub(200)..at + 30]));
        }
    }
}
