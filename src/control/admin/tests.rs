//! The admin API over a real loopback listener.

mod keys;

use super::*;
use crate::{
    control::{
        cache_health::CacheHealth,
        journal::{Journal, JournalOptions},
        ledger::{Ledger, LedgerSink},
    },
    kernel::{
        account::{Account, AccountId, Denial, Mode, Scope},
        ids::{RequestId, ShardId, SnapshotVersion},
        keys::Principal,
        limiter::{Limiter, LimiterId, Measure, Second},
        money::Nanos,
        names::Names,
        record::{Outcome, Record, inline},
        rules::Rules,
        secret::Secret,
        snapshot::{RateLimit, Snapshot},
        time::UnixMs,
        usage::Usage,
        window::{Period, Window},
    },
    link::{down::Phase, up::door},
    observe::{JournalFigures, Sources},
    sys::clock,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, thread};

pub(crate) const TOKEN: &str = "admin-secret";

fn snapshot(version: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot { rate_limits: limits(), ..Snapshot::of_rules(version, Rules::default(), Arc::default()) })
}

fn limits() -> Vec<RateLimit> {
    let limiter =
        |id, measure, limit| Arc::new(Limiter::new(LimiterId(id), Scope::Team("platform".into()), measure, limit));
    let (requests, concurrent) = (limiter(0, Measure::Requests, 60), limiter(1, Measure::Concurrent, 8));
    requests.debit(61, Second::of(clock::mono()));
    requests.note_refusal(1_763_726_400_123);
    concurrent.draw(3, 0, Second::of(clock::mono()));
    [requests, concurrent].map(|limiter| RateLimit { limiter, cache_read_permille: 0 }).into()
}

fn accounts() -> Accounts {
    let team = Scope::Team("platform".into());
    let now = Period::Monthly.window(answer::now().seconds());
    let next = Period::Monthly.window(now.end);
    let current = Account::new(AccountId(0), team.clone(), Period::Monthly, now, Nanos(9_000_000_000), Nanos(1), 1);
    current.draw(0, Nanos(1_000_000_000));
    current.settle(0, Nanos(500_000_000));
    current.publish_reserved(0, Nanos(9));
    current.note_denial(Denial { at_ms: 1_763_726_400_123, needed: Nanos(7), spent: Nanos(8) });
    let ahead = Account::new(AccountId(1), team, Period::Monthly, next, Nanos(9), Nanos::ZERO, 1);
    let total = Account::new(AccountId(2), Scope::Org, Period::Total, Window::ALWAYS, Nanos(5), Nanos(6), 1);
    let all = [(Arc::new(current), Mode::Hard), (Arc::new(ahead), Mode::Hard), (Arc::new(total), Mode::Soft)];
    Arc::new(move || all.to_vec())
}

/// A record that cost a dollar and a nano-dollar.
pub(crate) fn record(names: &Names, n: u64, team: &str) -> Record {
    let principal = Principal { key: "k".into(), team: team.into(), ..Principal::default() };
    Record {
        request_id: RequestId::new(1_763_726_400_000, ShardId(0), n),
        started_at: UnixMs(1_763_726_400_000),
        ended_at: UnixMs(1_763_726_401_000),
        principal: Some(names.principal(&principal)),
        model_served: inline(b"claude-sonnet-4-6"),
        outcome: Outcome::Completed,
        status: 200,
        usage: Usage { input: 1_000_000, output: 2, ..Usage::default() },
        cost: Nanos(1_000_000_001),
        ..Record::default()
    }
}

/// An admin API with everything behind it, on a listener of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) state: AdminState,
    pub(crate) names: Arc<Names>,
    journal: Option<Journal>,
    reloads: tokio::sync::watch::Sender<ReloadReply>,
    _directory: tempfile::TempDir,
}

pub(crate) fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::default());
    let (journal, _) = Journal::open(JournalOptions::new(directory.path(), names.clone()), |_| ()).unwrap();
    let health = journal.health();
    let shards: Vec<Arc<ShardGauges>> = vec![Arc::default(), Arc::default()];
    let lag = health.clone();
    let sources = Sources {
        shards: shards.clone(),
        upstreams: Arc::new(Vec::new),
        accounts: accounts(),
        registry: Arc::default(),
        journal: Arc::new(move |_| JournalFigures { accepting: lag.is_accepting(), lag_seconds: lag.lag_seconds() }),
        export: Arc::new(|_| None),
        issuers: Arc::new(Arc::default),
    };
    let (reload, receiver) = reloads();
    let (answer, hook) = tokio::sync::watch::channel(Ok(2));
    let state = AdminState {
        token: AdminToken::new(Some(&Secret::new(TOKEN.into()))),
        ledger: Ledger::new(names.clone()).shared(),
        caches: CacheHealth::new(Arc::new(|| snapshot(1)), names.clone()).shared(),
        metrics: Arc::new(Metrics::new(sources)),
        door: Arc::new(DownDoor::new(snapshot(1), shards.len())),
        shards,
        journal: health,
        export: Arc::default(),
        changes: journal.changes(),
        accounts: accounts(),
        raise: Arc::new(|_, _| Err(RaiseError::NoSuchBudget)),
        keys: Arc::new(keys::Desk::new(directory.path())),
        credentials: Arc::default(),
        reload,
        preview: Arc::new(|| Ok(json!({ "changed": { "key": { "added": ["carol"] } } }))),
        drain: Arc::default(),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(state.clone());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tokio::spawn(receiver.serve(move |_| hook.borrow().clone()));
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
    });
    Served { address, state, names, journal: Some(journal), reloads: answer, _directory: directory }
}

impl Served {
    fn ask(&self, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let mut answer = agent.run(request.body(()).unwrap()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.json("GET", path)
    }

    fn json(&self, method: &str, path: &str) -> (u16, Value) {
        let (status, body) = self.ask(method, path, Some("Bearer admin-secret"));
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path} answered {body}")))
    }

    fn send(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let request = request.header("authorization", format!("Bearer {TOKEN}")).body(body.to_owned()).unwrap();
        let mut answer = agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} answered {text}"));
        (answer.status().as_u16(), json)
    }

    fn error(&self, path: &str) -> (u16, String) {
        let (status, answer) = self.get(path);
        (status, answer["error"]["message"].as_str().unwrap().to_owned())
    }
}

#[test]
fn nobody_without_the_token_learns_anything() {
    let api = serve();
    for path in ["usage", "requests", "budgets", "limits", "shards", "keys", "keys/x/rotate", "nothing"] {
        for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic admin-secret"), Some("admin-secret")] {
            let (status, body) = api.ask("GET", &format!("/admin/v1/{path}"), token);
            assert_eq!(status, 401, "{path} {token:?}");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["error"]["type"], "unauthenticated");
            assert!(!body.to_string().contains(TOKEN));
        }
    }
    for path in ["reload", "drain"] {
        assert_eq!(api.ask("POST", &format!("/admin/v1/{path}"), Some("Bearer x")).0, 401);
    }
    assert_eq!(api.state.door.phase(), Phase::Serving);
    assert_eq!(api.ask("GET", "/admin/v1/usage", Some("bearer admin-secret")).0, 200);
}

#[test]
fn without_a_configured_token_not_even_an_empty_one_gets_in() {
    for token in [AdminToken::new(None), AdminToken::new(Some(&Secret::new(String::new())))] {
        let state = AdminState { token, ..serve().state };
        let served = Served { address: rebind(state.clone()), state, ..serve() };
        let (status, body) = served.ask("GET", "/admin/v1/usage", Some("Bearer "));
        assert_eq!(status, 401);
        assert!(body.contains("admin.token"), "{body}");
    }
}

fn rebind(state: AdminState) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router(state)).await.unwrap();
        });
    });
    address
}

#[test]
fn readiness_waits_for_every_shard_and_ends_with_the_drain() {
    let api = serve();
    assert_eq!(api.ask("GET", "/healthz", None).0, 200);
    let (status, body) = api.ask("GET", "/readyz", None);
    assert!(status == 503 && body.contains("0 of 2 shards"), "{body}");
    (0..2).for_each(|n| api.state.door.applied(ShardId(n), SnapshotVersion(1)));
    assert_eq!(api.ask("GET", "/readyz", None).0, 200);
    api.state.door.publish(snapshot(2));
    assert_eq!(api.ask("GET", "/readyz", None).0, 503);
    (0..2).for_each(|n| api.state.door.applied(ShardId(n), SnapshotVersion(2)));
    assert_eq!(api.ask("GET", "/readyz", None).0, 200);
    let (status, answer) = api.json("POST", "/admin/v1/drain");
    assert_eq!((status, &answer["draining"]), (202, &true.into()));
    assert_eq!(api.state.door.phase(), Phase::Draining);
    let (status, body) = api.ask("GET", "/readyz", None);
    assert!(status == 503 && body.contains("draining"), "{body}");
}

#[test]
fn a_journal_that_is_not_written_makes_us_unready() {
    let mut api = serve();
    (0..2).for_each(|n| api.state.door.applied(ShardId(n), SnapshotVersion(1)));
    assert_eq!(api.ask("GET", "/readyz", None).0, 200);
    let journal = api.journal.take().unwrap();
    let sink = LedgerSink::new(api.state.ledger.clone(), api.state.metrics.clone(), api.names.clone(), None);
    journal.start(Vec::new(), sink).unwrap().stop().unwrap();
    let (status, body) = api.ask("GET", "/readyz", None);
    assert!(status == 503 && body.contains("journal"), "{body}");
}

#[test]
fn a_record_sent_by_a_shard_shows_up_in_usage_requests_and_metrics() {
    let mut api = serve();
    let (mut sender, receiver) = door();
    let sink = LedgerSink::new(api.state.ledger.clone(), api.state.metrics.clone(), api.names.clone(), None);
    let journal = api.journal.take().unwrap().start(vec![receiver], sink).unwrap();
    for n in 0..3 {
        let ticket = sender.ticket().unwrap();
        sender.close(ticket, record(&api.names, n, "platform").into());
    }
    journal.stop().unwrap();
    let (status, usage) = api.get("/admin/v1/usage?group_by=team,model&since=2025-11-21&until=");
    assert_eq!(status, 200, "{usage}");
    assert_eq!(usage["data"].as_array().unwrap().len(), 1);
    let row = &usage["data"][0];
    assert_eq!((&row["team"], &row["model"]), (&"platform".into(), &"claude-sonnet-4-6".into()));
    assert_eq!((&row["requests"], &row["cost_usd"]), (&3.into(), &"3.000000003".into()));
    assert!(usage["as_of"].as_str().unwrap().starts_with("20"), "{usage}");
    let (_, requests) = api.get("/admin/v1/requests?limit=2&team=platform&outcome=completed");
    assert_eq!(requests["data"].as_array().unwrap().len(), 2);
    assert_eq!(requests["data"][0]["request_id"], record(&api.names, 2, "x").request_id.to_string());
    let (status, metrics) = api.ask("GET", "/metrics", None);
    assert_eq!(status, 200);
    assert!(metrics.contains("weir_tokens_total{kind=\"output\",model=\"claude-sonnet-4-6\"} 6\n"), "{metrics}");
    assert!(metrics.contains("weir_shard_connections{shard=\"1\"} 0"), "{metrics}");
}

#[test]
fn limits_show_no_level_or_hide_a_debt() {
    let api = serve();
    let (_, limits) = api.get("/admin/v1/limits");
    let team = "team:platform";
    let requests = json!({ "scope": team, "limit": "requests_per_minute", "amount": 60, "used": 61, "remaining": -1,
        "refused": 1, "last_refused_at": "2025-11-21T12:00:00.123Z" });
    let concurrent = json!({ "scope": team, "limit": "concurrent_requests", "amount": 8, "used": 3, "remaining": 5,
        "refused": 0, "last_refused_at": null });
    assert_eq!(limits, json!({ "data": [requests, concurrent] }));
    assert_eq!(api.error("/admin/v1/limits?x=1").0, 400);
}

#[test]
fn budgets_show_the_current_window_with_exact_money() {
    let api = serve();
    let (_, budgets) = api.get("/admin/v1/budgets");
    let rows = budgets["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{budgets}");
    let team = &rows[0];
    assert_eq!(
        (&team["scope"], &team["period"], &team["mode"]),
        (&"team:platform".into(), &"monthly".into(), &"hard".into())
    );
    assert_eq!((&team["amount"], &team["spent"]), (&"9.000000000".into(), &"0.500000001".into()));
    assert_eq!((&team["reserved"], &team["remaining"]), (&"0.000000009".into(), &"8.499999990".into()));
    assert!(team["resets_at"].as_str().unwrap().ends_with("-01T00:00:00.000Z"), "{team}");
    assert_eq!(
        team["last_denied"],
        serde_json::json!({"at": "2025-11-21T12:00:00.123Z", "needed": "0.000000007", "spent": "0.000000008"})
    );
    let org = &rows[1];
    assert_eq!((&org["remaining"], &org["resets_at"]), (&"-0.000000001".into(), &Value::Null));
    assert_eq!(org["last_denied"], Value::Null);
}

#[test]
fn shards_show_their_figures_and_their_configuration() {
    let api = serve();
    api.state.shards[1].connections.set(3);
    api.state.shards[1].leased_nanos.set(1_500_000_000);
    api.state.door.applied(ShardId(1), SnapshotVersion(1));
    let (_, shards) = api.get("/admin/v1/shards");
    assert_eq!((&shards["version"], &shards["settled"]), (&1.into(), &false.into()));
    let one = &shards["data"][1];
    assert_eq!((&one["shard"], &one["version"], &one["connections"]), (&1.into(), &1.into(), &3.into()));
    assert_eq!(one["leased_usd"], "1.500000000");
}

#[test]
fn a_reload_gives_the_new_version_or_every_error() {
    let api = serve();
    assert_eq!(api.json("POST", "/admin/v1/reload"), (200, serde_json::json!({"version": 2})));
    api.reloads
        .send(Err(ReloadError::Invalid(vec!["key[0].secret: is empty".into(), "listen.clients: no port".into()])))
        .unwrap();
    let (status, answer) = api.json("POST", "/admin/v1/reload");
    assert_eq!((status, &answer["error"]["errors"][1]), (422, &"listen.clients: no port".into()));
    assert_eq!(api.get("/admin/v1/reload").0, 405);
}

#[test]
fn a_wrong_question_is_told_the_right_ones() {
    let api = serve();
    let (status, message) = api.error("/admin/v1/usage?group_by=colour");
    assert!(status == 400 && message.contains("team, project, user"), "{message}");
    let (status, message) = api.error("/admin/v1/usage?groupby=team");
    assert!(status == 400 && message.contains("group_by, since, until"), "{message}");
    assert_eq!(api.error("/admin/v1/requests?limit=0").0, 400);
    assert_eq!(api.error("/admin/v1/budgets?x=1").0, 400);
    let (status, message) = api.error("/admin/v1/nothing");
    assert!(status == 404 && message.contains("budgets"), "{message}");
    assert_eq!(api.error("/nothing").0, 404);
}
