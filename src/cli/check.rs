//! `weir check`: reads the whole configuration and says everything that is wrong with it, at once.

mod diff;

use super::client::AdminArgs;
use crate::{
    control::config::{self, Config, ConfigError, Driver, JwtConfig, KeySource},
    kernel::limits::shard_bytes_max,
};
use clap::Args;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A configuration that cannot be used (interface.md §1).
const BAD_CONFIG: u8 = 2;

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "weir.toml")]
    pub config: PathBuf,
    /// Show what a reload would change in the running gateway: 0 nothing, 3 something, 2 a bad configuration, 1 it cannot be said
    #[arg(long)]
    pub diff: bool,
    /// With --diff: compare with this file instead of the running gateway
    #[arg(long, value_name = "FILE", requires = "diff")]
    pub against: Option<PathBuf>,
    /// The gateway to compare with.
    #[command(flatten)]
    pub gateway: AdminArgs,
}

/// Runs the command.
pub fn run(args: &CheckArgs) -> ExitCode {
    if args.diff { diff::run(args) } else { check(&args.config) }
}

/// Checks a file. Errors go to stderr, a summary to stdout; exits with 0 or 2.
fn check(path: &Path) -> ExitCode {
    let result = config::load(path);
    let written = match &result {
        Ok(config) => summary(path, config, &mut io::stdout().lock()),
        Err(errors) => report(path, errors, &mut io::stderr().lock()),
    };
    match (result, written) {
        (Err(_), _) => ExitCode::from(BAD_CONFIG),
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Err(_)) => ExitCode::FAILURE,
    }
}

/// Writes every error on a line of its own.
pub fn report(path: &Path, errors: &[ConfigError], out: &mut dyn Write) -> io::Result<()> {
    let plural = if errors.len() == 1 { "error" } else { "errors" };
    writeln!(out, "weir: {} has {} {plural}:", path.display(), errors.len())?;
    errors.iter().try_for_each(|error| writeln!(out, "  {error}"))
}

fn summary(path: &Path, config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let listen = &config.listen;
    let guard = match &listen.tls {
        None => "plain HTTP",
        Some(tls) if tls.client_ca.is_some() => "TLS with client certificates",
        Some(_) => "TLS",
    };
    let shards = match config.shards.count {
        0 => "one shard per core".to_string(),
        1 => "1 shard".to_string(),
        count => format!("{count} shards"),
    };
    let driver = match config.shards.driver {
        Driver::IoUring => "io_uring",
        Driver::Epoll => "epoll",
    };
    let upstreams: Vec<String> = config
        .upstreams
        .iter()
        .map(|u| {
            let scheme = if u.base_url.tls { "https" } else { "http" };
            format!("{} ({scheme}://{}{})", u.name, u.base_url.authority, u.base_url.base_path)
        })
        .collect();
    let unlisted = if config.passthrough { "passed through" } else { "refused" };
    let prices = config.price_book();
    writeln!(out, "{} is good", path.display())?;
    writeln!(out, "  listens    clients {} ({guard}), admin {}", listen.clients, listen.admin)?;
    writeln!(
        out,
        "  shards     {shards}, {driver}, at most {} MiB of buffers each",
        shard_bytes_max(&config.limits) >> 20
    )?;
    writeln!(out, "  upstreams  {}", upstreams.join(", "))?;
    writeln!(out, "  models     {} listed, others {unlisted}", config.models.len())?;
    let (keys, budgets, limits) = (config.keys.len(), config.budgets.len(), config.rate_limits.len());
    writeln!(out, "  callers    {keys} keys, {budgets} budgets, {limits} rate limits")?;
    for issuer in &config.jwt {
        writeln!(out, "  tokens     of {}, {}", issuer.issuer, keys_of(issuer))?;
    }
    writeln!(out, "  prices     {}", prices.version())?;
    writeln!(out, "  journal    {}", config.store.path.display())?;
    for idle in config.idle_scopes(&[]) {
        writeln!(out, "  note       {idle} in this file")?;
    }
    for short in config.short_secrets() {
        writeln!(out, "  note       {short}")?;
    }
    if !listen.admin.ip().is_loopback() {
        writeln!(out, "  note       the admin listener speaks plain HTTP to other machines; keep its network private")?;
    }
    Ok(())
}

fn keys_of(issuer: &JwtConfig) -> String {
    match &issuer.source {
        Some(KeySource::Published { url, .. }) => format!("keys from {url}"),
        Some(KeySource::Shared(secrets)) => format!("{} shared secrets", secrets.len()),
        None => "no keys".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[admin]
token = "${T}"
[[upstream]]
name = "main"
provider = "anthropic"
auth = { api_key = "${T}" }
[models]
passthrough = true
[[key]]
id = "dev-alice"
secret = "${T}"
"#;

    fn text_of(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_good_file_is_summed_up_with_its_secrets() {
        let env = |_: &str| Some("secret-value".to_string());
        let config = config::parse(GOOD, Path::new("/etc/weir"), &env).unwrap_or_else(|errors| panic!("{errors:?}"));
        let text = text_of(|out| summary(Path::new("weir.toml"), &config, out));
        assert!(text.starts_with("weir.toml is good\n"), "{text}");
        assert!(text.contains("main (https://api.anthropic.com)"), "{text}");
        assert!(text.contains("one shard per core, io_uring"), "{text}");
        assert!(text.contains("0 listed, others passed through"), "{text}");
        assert!(!text.contains("secret-value") && !text.contains("note"));
        let open = format!("{GOOD}\n[listen]\nadmin = \"0.0.0.0:8081\"");
        let config = config::parse(&open, Path::new("/etc/weir"), &env).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(text_of(|out| summary(Path::new("weir.toml"), &config, out)).contains("plain HTTP to other machines"));
    }

    #[test]
    fn an_error_is_printed_without_its_place_or_its_mend() {
        let errors = [ConfigError::new("a.b", "is wrong", "write c"), ConfigError::new("d", "is missing", "add d")];
        let text = text_of(|out| report(Path::new("weir.toml"), &errors, out));
        assert_eq!(text, "weir: weir.toml has 2 errors:\n  a.b: is wrong; write c\n  d: is missing; add d\n");
    }

    #[test]
    fn a_bad_file_exits_as_if_it_were_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir.toml");
        std::fs::write(&path, "[listen]\nclients = 5\n").unwrap();
        assert_eq!(check(&path), ExitCode::from(2));
        assert_eq!(check(&dir.path().join("none.toml")), ExitCode::from(2));
    }

    #[test]
    fn a_good_file_exits_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "value\n").unwrap();
        let path = dir.path().join("weir.toml");
        std::fs::write(&path, GOOD.replace("${T}", "${file:secret}")).unwrap();
        assert_eq!(check(&path), ExitCode::SUCCESS);
    }
}
