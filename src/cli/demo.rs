//! `weir demo`: a simulated provider and a gateway on loopback, with one organisation, two teams, three keys and a small
//! budget. Nothing to configure, nothing left behind.

use super::serve::ready_line;
use crate::{
    boot::{self, Addresses, Source},
    loadtest::provider::{self, ProviderOptions},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
};

/// Where the demo listens if nobody else does.
const USUAL_PORTS: [u16; 2] = [8080, 8081];
/// The credential the gateway shows the simulated provider.
const PROVIDER_KEY: &str = "sk-demo-provider";
/// The gateway keys: key, user, team, project.
const KEYS: [(&str, &str, &str, &str); 3] = [
    ("weir-demo-alice", "alice@example.com", "platform", "checkout"),
    ("weir-demo-bob", "bob@example.com", "platform", "search"),
    ("weir-demo-carol", "carol@example.com", "research", "evals"),
];
/// The admin token.
const ADMIN_TOKEN: &str = "weir-demo-admin";

/// Runs the demo until it is interrupted.
pub fn run() -> ExitCode {
    let options = ProviderOptions { api_keys: vec![PROVIDER_KEY.to_owned()], ..ProviderOptions::default() };
    let provider = match provider::start(options) {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("weir: the simulated provider cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let store = Store::new();
    let ports = USUAL_PORTS.map(free_port);
    let config = config_text(provider.addr(), ports, &store.0);
    boot::serve(Source::Text { text: config, environment: environment() }, false, |at| {
        println!("{}", ready_line(at));
        println!("{}", how_to(at));
    })
}

/// The demo's secrets are no secrets, but the configuration takes none that are written out.
fn environment() -> Vec<(String, String)> {
    let keys = KEYS.map(|(key, ..)| (key.to_owned(), key.to_owned()));
    let others = [("ADMIN_TOKEN", ADMIN_TOKEN), ("PROVIDER_KEY", PROVIDER_KEY)];
    keys.into_iter().chain(others.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// The journal's directory, removed at the end.
struct Store(PathBuf);

impl Store {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("weir-demo-{}", std::process::id())))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nothing to tell anybody if it is gone already.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// The usual port, or any other (0) if it is taken.
fn free_port(usual: u16) -> u16 {
    TcpListener::bind(("127.0.0.1", usual)).map_or(0, |_| usual)
}

fn config_text(provider: SocketAddr, ports: [u16; 2], store: &std::path::Path) -> String {
    let mut text = format!(
        r#"
[listen]
clients = "127.0.0.1:{}"
admin = "127.0.0.1:{}"
[store]
path = {:?}
[admin]
token = "${{ADMIN_TOKEN}}"
[[upstream]]
name = "simulated"
provider = "anthropic"
base_url = "http://{provider}"
auth = {{ api_key = "${{PROVIDER_KEY}}" }}
[models]
passthrough = true
[[budget]]
scope = "team:platform"
amount = "5.00"
period = "monthly"
mode = "hard"
blocked_message = "This is the demo's budget: restart the demo, or use another team's key."
"#,
        ports[0], ports[1], store
    );
    for (key, user, team, project) in KEYS {
        text.push_str(&format!(
            "[[key]]\nid = \"{key}\"\nsecret = \"${{{key}}}\"\nuser = \"{user}\"\nteam = \"{team}\"\nproject = \"{project}\"\n"
        ));
    }
    text
}

fn how_to(at: Addresses) -> String {
    let mut text = format!(
        "
A simulated provider stands behind it: answers are made up, tokens and dollars are counted for real.
Budget: team platform may spend $5.00 a month. Admin token: {ADMIN_TOKEN}

Claude Code, in a shell of its own, as one of three developers:
"
    );
    for (key, user, team, _) in KEYS {
        text.push_str(&format!(
            "  export ANTHROPIC_BASE_URL=http://{} ANTHROPIC_AUTH_TOKEN={key}   # {user}, team {team}\n",
            at.clients
        ));
    }
    text.push_str(&format!(
        "  claude -p \"Reply with one word: connected\"

By hand:
  curl -N http://{}/v1/messages -H 'authorization: Bearer {}' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\
    -d '{{\"model\":\"claude-sonnet-4-6\",\"max_tokens\":64,\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'

Who spent what:
  WEIR_ADMIN_TOKEN={ADMIN_TOKEN} weir usage --by team,user,model --admin http://{}

Ctrl-C ends it; nothing is left behind.",
        at.clients, KEYS[0].0, at.admin
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_needs_nothing_from_anybody() {
        let text = config_text(SocketAddr::from(([127, 0, 0, 1], 9)), [0, 0], std::path::Path::new("x"));
        let parsed = Source::Text { text, environment: environment() }.load();
        assert!(parsed.is_ok(), "{:?}", parsed.err().map(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>()));
    }
}
