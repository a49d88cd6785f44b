//! weir with everything on that a fleet's gateway does: identity, team budget, rate limits, metering, prices, journal with
//! fsync, metrics.

use super::{Dir, READY_WITHIN, Running, Setup, StartError, command};
use crate::loadtest::generator::workload::MODELS;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const CLIENT_KEY: &str = "sk-compare-client";
/// Between two looks at the ready line: fine enough to time a start.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const ADMIN_TOKEN: &str = "admin-compare";

pub(super) fn start(setup: &Setup) -> Result<Running, StartError> {
    let own = [("COMPARE_ADMIN_TOKEN", ADMIN_TOKEN), ("COMPARE_CLIENT_KEY", CLIENT_KEY)];
    let environment = [own[0], own[1], ("COMPARE_PROVIDER_KEY", "sk-compare-provider")];
    start_with(setup, |dir, tls| config(setup, dir, tls), &environment, CLIENT_KEY)
}

/// Starts weir with a configuration that names secrets of this environment; `key` is what clients show.
pub(super) fn start_with(
    setup: &Setup,
    config: impl Fn(&Dir, &str) -> String,
    environment: &[(&str, &str)],
    key: &str,
) -> Result<Running, StartError> {
    if !setup.weir.is_file() {
        return Err(StartError::Failed(format!(
            "there is no {}; build it (cargo build --release) or say where it is with --weir",
            setup.weir.display()
        )));
    }
    let dir = Dir::new("weir")?;
    let tls = match &setup.tls {
        Some(tls) => {
            let (chain, key) = (dir.write("tls.crt", &tls.chain_pem)?, dir.write("tls.key", &tls.key_pem)?);
            format!("tls = {{ cert = \"{}\", key = \"{}\" }}\n", chain.display(), key.display())
        }
        None => String::new(),
    };
    let config = dir.write("weir.toml", &config(&dir, &tls))?;
    let program = setup.under.first().map_or(setup.weir.as_path(), Path::new);
    let mut command = command(program, setup, &dir)?;
    if let Some((_, arguments)) = setup.under.split_first() {
        command.args(arguments).arg(&setup.weir);
    }
    command.arg("serve").arg("--config").arg(config);
    command.envs(environment.iter().copied());
    let began = Instant::now();
    let mut child = command.spawn()?;
    let mut target = None;
    while target.is_none() && began.elapsed() < READY_WITHIN && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(LOOK_EVERY);
        target = fs::read_to_string(dir.0.join("out")).ok().and_then(|out| ready(&out));
    }
    let ready_after = began.elapsed();
    let Some(target) = target else {
        let _killed = child.kill();
        let _waited = child.wait();
        return Err(StartError::Failed(format!("it did not start: {}", dir.tail("log"))));
    };
    let addr = target.split_once("://").map_or(target.as_str(), |(_, addr)| addr);
    let gateway = setup.gateway("weir", addr, vec![child.id()], Some(key));
    Ok(Running { gateway, ready_after, child, dir })
}

/// Where clients go, by the ready line.
fn ready(out: &str) -> Option<String> {
    let line = out.lines().find_map(|line| line.strip_prefix("weir: ready clients="))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn config(setup: &Setup, dir: &Dir, tls: &str) -> String {
    let models: String = MODELS
        .iter()
        .map(|model| format!("[[model]]\nid = \"{model}\"\ntargets = [{{ upstream = \"provider\" }}]\n"))
        .collect();
    let more_keys: String = (0..setup.more_keys)
        .map(|n| format!("[[key]]\nid = \"more-{n}\"\nsha256 = \"{n:064x}\"\nuser = \"user-{n}@example.com\"\nteam = \"team-{}\"\n", n % 100))
        .collect();
    format!(
        r#"[listen]
clients = "127.0.0.1:0"
admin = "127.0.0.1:0"
{tls}[shards]
count = 1
pin = false
driver = "{driver}"
[store]
path = "{store}"
[admin]
token = "${{COMPARE_ADMIN_TOKEN}}"
[[upstream]]
name = "provider"
provider = "anthropic"
base_url = "http://{provider}"
auth = {{ api_key = "${{COMPARE_PROVIDER_KEY}}" }}
{models}[[key]]
id = "compare"
secret = "${{COMPARE_CLIENT_KEY}}"
user = "compare@example.com"
team = "compare"
{more_keys}[[budget]]
scope = "team:compare"
amount = "100000000.00"
period = "monthly"
mode = "hard"
[[rate_limit]]
scope = "team:compare"
requests_per_minute = 100_000_000
input_tokens_per_minute = 100_000_000_000
"#,
        driver = if setup.under.is_empty() { "io_uring" } else { "epoll" },
        store = dir.0.join("store").display(),
        provider = setup.provider,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_read_wrong() {
        let out = "weir: ready clients=http://127.0.0.1:8 admin=http://127.0.0.1:9\n";
        assert_eq!(ready(out).as_deref(), Some("http://127.0.0.1:8"));
        assert_eq!(ready("weir: starting\n"), None);
    }
}
