//! From a configuration to what shards serve by.

use super::*;
use crate::{
    control::{addresses::Addresses, budget::AccountBook, credentials::CredentialKeeper},
    kernel::{
        account::{Mode, Scope},
        ids::{SnapshotVersion, UpstreamIx},
        keys::{KeyDigest, Retiring},
        money::Nanos,
        names::Names,
        snapshot::{RateLimit, RateLimitIx, Snapshot, Upstream},
        usage::Usage,
        window::Window,
    },
};
use std::sync::Arc;

const NOW: i64 = 1_795_000_000;

fn build(config: &Config, accounts: &AccountBook) -> Snapshot {
    let spent = |_: &Scope, _: Window| Nanos::ZERO;
    let callers = Callers { made: &[], spent: &spent, spenders: None, now_seconds: NOW, issuers: Default::default() };
    let names = &accounts.registry().names;
    let surroundings = Surroundings::look_up(config, names, &CredentialKeeper::default(), &looked_up)
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    build_snapshot(config, surroundings, SnapshotVersion(1), &callers, accounts)
}

fn built(config: &Config) -> Snapshot {
    build(config, &AccountBook::default())
}

fn local(more: &str) -> Config {
    let text = BASE.replace("provider = ", "base_url = \"http://127.0.0.1:9999/x\"\nprovider = ");
    parsed(&format!("{text}\n{more}")).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn an_upstream_is_addressed_or_authenticated_wrongly() {
    let bearer = "[[upstream]]\nname = \"second\"\nprovider = \"anthropic\"\nbase_url = \"https://127.0.0.1\"\nauth = { bearer = \"${KEY}\" }";
    let snapshot = built(&local(bearer));
    let [first, second]: [&Upstream; 2] = [0, 1].map(|at| snapshot.upstream(UpstreamIx(at)).unwrap());
    assert_eq!((&*first.authority, &*first.host, &*first.base_path), ("127.0.0.1:9999", "127.0.0.1", "/x"));
    assert_eq!(first.addresses, ["127.0.0.1:9999".parse().unwrap()]);
    assert!(first.tls_roots.is_none());
    let shown = |upstream: &Upstream| String::from_utf8_lossy(upstream.credential.lines.expose()).into_owned();
    assert_eq!(shown(first), "x-api-key: upstream-key-value\r\n");
    assert_eq!(shown(second), "authorization: Bearer upstream-key-value\r\n");
    assert!(second.tls_roots.as_ref().is_some_and(|roots| !roots.is_empty()));
    assert_eq!(&*second.authority, "127.0.0.1");
}

#[test]
fn a_host_that_does_not_resolve_keeps_weir_from_starting() {
    // A label of 64 bytes is no name, so no name service is asked; `parse` would refuse it.
    let mut config = local("");
    config.upstreams[0].base_url.host = "x".repeat(64);
    assert!(built(&config).upstreams[0].addresses.is_empty());
}

#[test]
fn an_alias_is_sent_upstream() {
    let mut config = local("");
    let target = |config: &Config, asked: &str| {
        let snapshot = built(config);
        snapshot.models.targets(asked).map(|targets| targets[0].model.clone())
    };
    assert_eq!(target(&config, "claude-sonnet-5-5"), Some(None));
    assert_eq!(target(&config, "sonnet"), None);
    config.models[0].aliases.push("sonnet".into());
    assert_eq!(target(&config, "sonnet"), Some(Some("claude-sonnet-5-5".into())));
    config.models[0].targets[0].model = Some("own-id".into());
    assert_eq!(target(&config, "sonnet"), Some(Some("own-id".into())));
    config.passthrough = true;
    assert_eq!(target(&config, "claude-opus-9"), Some(None));
}

#[test]
fn a_key_is_booked_on_the_budgets_of_others() {
    let more = r#"
[[key]]
id = "dev-bob"
secret = "${BOB}"
team = "platform"
[[budget]]
scope = "org"
amount = "100"
period = "monthly"
[[budget]]
scope = "team:*"
amount = "50"
period = "monthly"
[[budget]]
scope = "key:*"
amount = "10"
period = "daily"
mode = "soft"
[[budget]]
scope = "key:dev-bob"
amount = "1"
period = "daily"
blocked_message = "bob"
[[budget]]
scope = "user:alice@example.com"
amount = "5"
period = "total"
"#;
    let book = AccountBook::default();
    let (snapshot, names) = (build(&local(more), &book), &book.registry().names);
    let scopes = |secret: &str| {
        let key = snapshot.keys.get(snapshot.keys.find(secret.as_bytes()).unwrap().key).unwrap();
        let principal = names.principal_of(key.principal);
        let mut scopes = Vec::new();
        for ix in &key.budgets {
            let budget = snapshot.budget(*ix).unwrap();
            assert!(budget.accounts[0].scope.covers(&principal));
            assert!(budget.account_at(NOW).is_some());
            let mode = if budget.mode == Mode::Hard { "hard" } else { "soft" };
            scopes.push(format!(
                "{} {} {mode} {}",
                budget.accounts[0].scope,
                budget.accounts[0].amount().0 / 1_000_000_000,
                budget.pooled
            ));
        }
        scopes
    };
    assert_eq!(
        scopes("alice-secret-value"),
        [
            "key:dev-alice 10 soft false",
            "user:alice@example.com 5 hard false",
            "team:platform 50 hard true",
            "org 100 hard true"
        ]
    );
    assert_eq!(
        scopes("bob-secret-value"),
        ["key:dev-bob 1 hard false", "team:platform 50 hard true", "org 100 hard true"]
    );
    assert_eq!(snapshot.budgets.len(), 5, "one team of two keys has one budget");
}

#[test]
fn a_reload_opens_accounts_anew_or_keeps_removed_ones() {
    let budget = "[[budget]]\nscope = \"org\"\nperiod = \"daily\"\namount = ";
    let accounts = AccountBook::default();
    let first = build(&local(&format!("{budget}\"1\"")), &accounts);
    let second = build(&local(&format!("{budget}\"2\"")), &accounts);
    assert!(Arc::ptr_eq(&first.budgets[0].accounts[0], &second.budgets[0].accounts[0]));
    assert_eq!(second.budgets[0].accounts[0].amount(), Nanos(2_000_000_000));
    assert_eq!(first.upstreams[0].name_id, second.upstreams[0].name_id);
    build(&local(""), &accounts);
    assert!(accounts.accounts().is_empty());
}

#[test]
fn a_certificate_that_has_gone_is_taken_for_no_tls() {
    let mut config = local("");
    config.listen.tls = Some(TlsFiles { cert: "/nonexistent".into(), key: "/nonexistent".into(), client_ca: None });
    let errors = Surroundings::look_up(&config, &Names::default(), &CredentialKeeper::default(), &looked_up)
        .err()
        .unwrap_or_default();
    assert_eq!(errors.len(), 2);
}

/// A key as the admin API makes it.
fn made(id: &str, team: &str) -> KeyConfig {
    KeyConfig {
        id: id.into(),
        digest: Some(KeyDigest::of(id.as_bytes())),
        retiring: Some(Retiring { digest: KeyDigest::of(format!("old {id}").as_bytes()), until: NOW }),
        user: String::new(),
        team: team.into(),
        project: String::new(),
        models: None,
        expires: None,
        trusted_peers: Vec::new(),
    }
}

#[test]
fn a_key_made_at_run_time_is_booked_on_no_budget_or_keeps_a_removed_certificate_from_being_revoked() {
    let mut config = local("[[budget]]\nscope = \"team:*\"\nperiod = \"daily\"\namount = \"1\"");
    let accounts = AccountBook::default();
    let first = build(&config, &accounts);
    assert_eq!(first.budgets.len(), 1);
    // What could not be looked up now is not looked up for a change of keys.
    config.listen.tls = Some(TlsFiles { cert: "/nonexistent".into(), key: "/nonexistent".into(), client_ca: None });
    let spent = |_: &Scope, _: Window| Nanos::ZERO;
    let made = [made("made-1", "data"), made("made-2", "platform")];
    let callers = Callers { made: &made, spent: &spent, spenders: None, now_seconds: NOW, issuers: Default::default() };
    let second = build_snapshot(&config, Surroundings::of(&first), SnapshotVersion(2), &callers, &accounts);
    let budgets_of = |secret: &str| {
        let found = second.keys.find(secret.as_bytes()).unwrap();
        let key = second.keys.get(found.key).unwrap();
        let scopes = key.budgets.iter().map(|ix| second.budget(*ix).unwrap().accounts[0].scope.to_string());
        scopes.collect::<Vec<_>>()
    };
    assert_eq!(budgets_of("made-1"), ["team:data"]);
    assert_eq!(budgets_of("old made-2"), ["team:platform"]);
    assert_eq!(budgets_of("alice-secret-value"), ["team:platform"]);
    assert!(Arc::ptr_eq(&first.budgets[0].accounts[0], &second.budgets[0].accounts[0]));
    assert_eq!(second.upstreams[0].addresses, first.upstreams[0].addresses);
}

#[test]
fn an_unchanged_listener_loses_its_sessions_at_a_reload() {
    let dir = tls_dir();
    let mut config = local("");
    let files = |name: &str| TlsFiles {
        cert: dir.path().join(format!("{name}.crt")),
        key: dir.path().join(format!("{name}.key")),
        client_ca: None,
    };
    config.listen.tls = Some(files("tls"));
    let (first, second) = (built(&config).edge.tls.unwrap(), built(&config).edge.tls.unwrap());
    assert_eq!(first.alpn_protocols, [b"http/1.1".to_vec()]);
    assert!(first.ticketer.enabled());
    let ticket = first.ticketer.encrypt(b"session").unwrap();
    assert_eq!(second.ticketer.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    // Another client CA must not inherit tickets: they carry what the old one accepted.
    let strict = TlsFiles { client_ca: Some(dir.path().join("other.crt")), ..files("tls") };
    config.listen.tls = Some(strict);
    let third = built(&config).edge.tls.unwrap();
    assert_eq!(third.ticketer.decrypt(&ticket), None);
}

#[test]
fn an_upstream_trusts_the_ca_of_another() {
    let dir = tls_dir();
    let mut config = local("");
    config.upstreams[0].base_url.tls = true;
    let plain = built(&config).upstreams[0].tls_roots.clone().unwrap();
    config.upstreams[0].ca = Some(dir.path().join("tls.crt"));
    let extended = built(&config).upstreams[0].tls_roots.clone().unwrap();
    assert_eq!(extended.len(), plain.len() + 1);
    assert!(Arc::ptr_eq(&extended, built(&config).upstreams[0].tls_roots.as_ref().unwrap()));
    config.upstreams[0].ca = None;
    assert!(Arc::ptr_eq(&plain, built(&config).upstreams[0].tls_roots.as_ref().unwrap()));
}

#[test]
fn own_prices_do_not_reach_the_snapshot() {
    let price = "[[price]]\nupstream = \"main\"\nmodel = \"claude-sonnet-5-5\"\ninput = \"1\"\noutput = \"2\"";
    let snapshot = built(&local(price));
    let usage = Usage { input: 1000, output: 1000, ..Usage::default() };
    let rates = snapshot.prices.rates("main", "claude-sonnet-5-5", "claude-sonnet-5-5");
    assert_eq!(rates.cost(&usage), Nanos(3_000_000));
    assert!(snapshot.prices.version().contains('+'));
}

#[test]
fn a_key_is_held_to_the_rate_limits_of_others() {
    let more = r#"
[[key]]
id = "dev-bob"
secret = "${BOB}"
team = "platform"
[[rate_limit]]
scope = "key:*"
requests_per_minute = 60
concurrent_requests = 8
[[rate_limit]]
scope = "key:dev-bob"
requests_per_minute = 5
[[rate_limit]]
scope = "team:platform"
input_tokens_per_minute = 1_000
cache_read_weight = "0.125"
"#;
    let book = AccountBook::default();
    let snapshot = build(&local(more), &book);
    let limits = |secret: &str| {
        let key = snapshot.keys.get(snapshot.keys.find(secret.as_bytes()).unwrap().key).unwrap();
        let shown = |ix: &RateLimitIx| {
            let RateLimit { limiter, cache_read_permille } = snapshot.rate_limit(*ix).unwrap();
            format!("{} {} {} {cache_read_permille}", limiter.scope, limiter.limit(), limiter.measure.as_str())
        };
        key.rate_limits.iter().map(shown).collect::<Vec<_>>()
    };
    let team = "team:platform 1000 input_tokens_per_minute 125";
    let alice = ["key:dev-alice 60 requests_per_minute 0", "key:dev-alice 8 concurrent_requests 0", team];
    assert_eq!(limits("alice-secret-value"), alice);
    assert_eq!(limits("bob-secret-value"), ["key:dev-bob 5 requests_per_minute 0", team]);
    let again = build(&local(&more.replace("= 5", "= 6")), &book);
    let kept = snapshot.rate_limits.iter().zip(&again.rate_limits);
    assert!(kept.clone().all(|(old, new)| Arc::ptr_eq(&old.limiter, &new.limiter)));
    assert_eq!(limits("bob-secret-value")[0], "key:dev-bob 6 requests_per_minute 0", "the limit it is, on every shard");
}

/// Addresses stand for themselves; of names only this host's own is known.
fn looked_up(host: &str) -> Addresses {
    let own = if host == "localhost" { "127.0.0.1" } else { host };
    Addresses { now: own.parse().into_iter().collect(), before: Vec::new() }
}
