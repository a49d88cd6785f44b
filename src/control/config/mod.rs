//! The configuration file (interface.md §2): from TOML text to meant values, once, with every error at once.
//!
//! `reader` takes typed values out of a table and notes what is wrong; the files named after sections turn them into the
//! domain types of `types`; `cross` checks what sections say about each other; `snapshot` makes what a shard serves by.
//! Invariants: a `Config` exists only if there was no error at all; no error and no log line ever contains a secret.
//! Deliberately absent: a second, loosely typed configuration struct, and silent defaults for keys nobody knows.

mod audit;
mod base_url;
mod budgets;
mod cross;
mod difference;
mod dns;
mod error;
mod export;
mod identity;
mod keys;
mod limits;
mod listen;
mod models;
mod outline;
mod pricing;
mod providers;
mod proxy;
mod rate_limits;
mod reader;
mod refused;
mod secrets;
mod service;
mod snapshot;
mod tls;
mod types;
pub(super) mod units;
mod upstreams;

#[cfg(test)]
mod tests;

pub use difference::{difference, needs_new_process};
pub use error::ConfigError;
pub use outline::Outline;
pub use snapshot::{Callers, Surroundings, build_snapshot};
pub use tls::roots as trusted_roots;
pub use types::*;

use reader::{Context, Reader};
use std::{collections::BTreeSet, panic::resume_unwind, path::Path, thread};
use toml::de::DeTable;

/// Answers `"${NAME}"`: the environment, or what stands for it.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Reads and checks a configuration file; secrets come from the environment of this process and from files.
pub fn load(path: &Path) -> Result<Config, Vec<ConfigError>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let mend = "give the path of a readable UTF-8 text file with --config";
        vec![ConfigError::new(path.display().to_string(), format!("cannot be read: {error}"), mend)]
    })?;
    parse(&text, path.parent().unwrap_or(Path::new("")), &|name| std::env::var(name).ok())
}

/// Checks a configuration text. Relative paths in it are meant relative to `base_dir`; `env` answers `"${NAME}"`.
pub fn parse(text: &str, base_dir: &Path, env: Env<'_>) -> Result<Config, Vec<ConfigError>> {
    let table = DeTable::parse(text).map_err(|error| vec![ConfigError::syntax(text, &error)])?;
    let context = Context::new(base_dir, env);
    let outline = || Outline::of(text, table.get_ref(), base_dir, env);
    // With ten thousand keys the outline takes as long as all the rest: both at once, where there is a core for each.
    let (mut config, outline) = thread::scope(|scope| {
        let beside = thread::Builder::new().name("weir-outline".to_owned()).spawn_scoped(scope, outline);
        let config = read(&Reader::root(table.get_ref(), &context));
        cross::check(&config, &context);
        let outline = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_no_thread) => outline(),
        };
        (config, outline)
    });
    config.outline = outline;
    config.named = context.named();
    let errors = context.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

/// Reads every section. Where something is wrong a placeholder stands in, so that the rest is still checked.
fn read(root: &Reader<'_>) -> Config {
    let budgets = service::budgets(root);
    let config = Config {
        listen: listen::listen(root),
        shards: listen::shards(root),
        dns: dns::dns(root),
        limits: limits::limits(root),
        store: service::store(root),
        admin: service::admin(root),
        upstreams: upstreams::upstreams(root),
        models: models::models(root),
        passthrough: models::passthrough(root),
        keys: keys::keys(root),
        jwt: identity::jwt(root),
        mtls: identity::mtls(root),
        on_revoke: keys::on_revoke(root),
        budgets: budgets::budgets(root),
        rate_limits: rate_limits::rate_limits(root),
        reserve: budgets.0,
        on_store_error: budgets.1,
        pricing: pricing::pricing(root),
        audit: audit::audit(root),
        unknown_objects: service::unknown_objects(root),
        repair: service::repair(root),
        export: export::export(root),
        watch: service::watch(root),
        named: BTreeSet::new(),
        outline: Outline::default(),
    };
    root.finish();
    config
}
