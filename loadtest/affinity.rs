//! What it costs where a session's turns go: accounts with prompt caches of their own, and the same sessions under each way to
//! choose among them. Dollars are weir's own ledger's; tokens must agree with the accounts' books.
//!
//! Simulated: a session's prompt grows from turn to turn, an account has in its cache what it has seen of the session before,
//! for as long as the run lasts (a real cache forgets after five idle minutes, which is the same for every strategy).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use ureq::Agent;

use super::cli::{beside_this_program, write_json};
use super::gateways::{self, Running, Setup, StartError};
use super::process::reload;
use super::provider::{self, BilledUsage, ProviderHandle, ProviderOptions};

const MODEL: &str = "claude-sonnet-4-6";
/// A session's first prompt, and by how much it grows with each turn. Tokens.
const FIRST_TOKENS: u64 = 20_000;
const TURN_TOKENS: u64 = 3_000;
/// Tokens of an answer.
const ANSWER_TOKENS: u64 = 300;
/// Sessions that are asked for at once.
const WORKERS: usize = 8;
/// How long a request, a reload or the ledger may take.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "sk-affinity-client-0123456789abcdef";
const ADMIN_TOKEN: &str = "admin-affinity";

/// What may be said to `weir-loadtest affinity`.
#[derive(Args)]
pub struct AffinityArgs {
    /// Sessions, all at work at once.
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Turns of each.
    #[arg(long, default_value_t = 20)]
    turns: usize,
    /// Accounts, each with prompt caches of its own.
    #[arg(long, default_value_t = 5)]
    accounts: usize,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How the accounts are chosen from, and what happens to them.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    strategy: &'static str,
    /// The first account is taken out of the configuration after a third of the turns, and is back after two thirds.
    loses_one: bool,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "affinity", strategy: "affinity", loses_one: false },
    Scenario { name: "weighted random", strategy: "weighted", loses_one: false },
    Scenario { name: "affinity, one account removed and added back", strategy: "affinity", loses_one: true },
];

/// What one scenario came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// Requests, all of them served.
    pub requests: u64,
    /// What they cost, US dollars, as weir has booked it.
    pub dollars: f64,
    /// Of all prompt tokens, how many were read from a cache, percent.
    pub cache_hits_percent: f64,
    /// Turns at another account than the turn before.
    pub moves: usize,
    /// Sessions that had to move, since their account was taken away.
    pub had_to_move: usize,
}

/// Runs all scenarios and prints them as a table; fails if books and ledger do not agree.
pub(super) fn run(args: &AffinityArgs) -> Result<ExitCode, String> {
    if args.accounts < 2 || args.turns < 3 || args.sessions == 0 {
        return Err("--accounts from 2, --turns from 3 and --sessions from 1 on".to_owned());
    }
    let weir = args.weir.clone().map_or_else(beside_this_program, Ok)?;
    println!("{} sessions of {} turns over {} accounts", args.sessions, args.turns, args.accounts);
    println!(
        "{:<46} {:>10} {:>9} {:>11} {:>7} {:>12}",
        "", "dollars", "relative", "cache hits", "moves", "had to move"
    );
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in SCENARIOS {
        let outcome = Run::start(args, scenario, &weir)?.play(args)?;
        let relative = outcome.dollars / outcomes.first().map_or(outcome.dollars, |first| first.dollars);
        println!(
            "{:<46} {:>10.2} {:>8.2}x {:>9.1} % {:>7} {:>12}",
            outcome.scenario, outcome.dollars, relative, outcome.cache_hits_percent, outcome.moves, outcome.had_to_move
        );
        outcomes.push(outcome);
    }
    write_json(args.json.as_deref(), &outcomes)?;
    Ok(ExitCode::SUCCESS)
}

struct Run {
    scenario: Scenario,
    accounts: Vec<ProviderHandle>,
    running: Running,
    admin: String,
    agent: Agent,
}

impl Run {
    fn start(args: &AffinityArgs, scenario: Scenario, weir: &std::path::Path) -> Result<Self, String> {
        let account = |seed: usize| {
            let script = format!("caches=1 output_tokens={ANSWER_TOKENS}");
            let keep_entries = args.sessions * args.turns;
            let options = ProviderOptions { script, keep_entries, seed: seed as u64, ..ProviderOptions::default() };
            provider::start(options).map_err(|error| format!("an account cannot listen: {error}"))
        };
        let accounts = (0..args.accounts).map(account).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<SocketAddr> = accounts.iter().map(ProviderHandle::addr).collect();
        let setup = Setup::new(addresses[0], Some(weir.to_owned()))?;
        let environment = [
            ("AFFINITY_ADMIN_TOKEN", ADMIN_TOKEN),
            ("AFFINITY_KEY", KEY),
            ("AFFINITY_PROVIDER_KEY", "sk-affinity-provider"),
        ];
        let first = config(scenario.strategy, &addresses, 0);
        let running = gateways::start_weir(&setup, &first, &environment, KEY).map_err(|error| match error {
            StartError::NotInstalled(how) => format!("weir: {how}"),
            StartError::Failed(why) => format!("weir: {why}"),
        })?;
        let admin = running.admin().ok_or("weir does not say where its admin API is")?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_idle_connections_per_host(WORKERS)
            .timeout_global(Some(PATIENCE));
        Ok(Self { scenario, accounts, running, admin, agent: agent.build().into() })
    }

    fn play(self, args: &AffinityArgs) -> Result<Outcome, String> {
        let (leaves, returns) = (args.turns / 3, args.turns * 2 / 3);
        for turn in 0..args.turns {
            if self.scenario.loses_one && turn == leaves {
                self.reconfigure(1)?;
            }
            if self.scenario.loses_one && turn == returns {
                self.reconfigure(0)?;
            }
            self.turn(turn, args.sessions)?;
        }
        let requests = (args.sessions * args.turns) as u64;
        let booked = self.booked(requests)?;
        let billed = self.billed(requests)?;
        let usage = [billed.input, billed.output, billed.cache_read, billed.cache_write_5m, billed.cache_write_1h];
        if usage != booked.tokens {
            return Err(format!("the accounts have billed {usage:?} tokens, weir has booked {:?}", booked.tokens));
        }
        let homes = self.homes();
        let moves = |path: &Vec<usize>| path.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let had_to = |path: &&Vec<usize>| self.scenario.loses_one && path.get(leaves - 1) == Some(&0);
        let prompt = billed.input + billed.cache_read + billed.cache_write_5m + billed.cache_write_1h;
        Ok(Outcome {
            scenario: self.scenario.name,
            requests,
            dollars: booked.dollars,
            cache_hits_percent: billed.cache_read as f64 * 100.0 / prompt.max(1) as f64,
            moves: homes.values().map(moves).sum(),
            had_to_move: homes.values().filter(had_to).count(),
        })
    }

    /// Writes the configuration without the first so many accounts, and waits until every shard serves by it.
    fn reconfigure(&self, without: usize) -> Result<(), String> {
        let addresses: Vec<SocketAddr> = self.accounts.iter().map(ProviderHandle::addr).collect();
        self.running.write_config(&config(self.scenario.strategy, &addresses, without))?;
        let before = self.shards()?.0;
        reload(&self.running.gateway.pids);
        let end = Instant::now() + PATIENCE;
        while self.shards().is_ok_and(|(version, settled)| version <= before || !settled) {
            if Instant::now() > end {
                return Err("weir does not reload".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn shards(&self) -> Result<(u64, bool), String> {
        let shards = self.admin("/admin/v1/shards")?;
        Ok((shards["version"].as_u64().unwrap_or(0), shards["settled"].as_bool().unwrap_or(false)))
    }

    /// One turn of every session.
    fn turn(&self, turn: usize, sessions: usize) -> Result<(), String> {
        let (agent, target) = (&self.agent, self.running.gateway.target.as_str());
        let work = |worker: usize| {
            (worker..sessions).step_by(WORKERS).try_for_each(|session| ask(agent, target, turn, session))
        };
        thread::scope(|scope| {
            let working: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
            working.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker died".to_owned())?)
        })
    }

    fn admin(&self, path: &str) -> Result<Value, String> {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let asked = self.agent.get(format!("{}{path}", self.admin)).header("authorization", &bearer).call();
        let mut answer = asked.map_err(|error| format!("{path}: {error}"))?;
        answer.body_mut().read_json().map_err(|error| format!("{path}: {error}"))
    }

    /// What weir has booked, once it has booked everything.
    fn booked(&self, requests: u64) -> Result<Booked, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let usage = self.admin("/admin/v1/usage?group_by=org")?;
            let row = &usage["data"][0];
            let number = |field: &str| row[field].as_u64().unwrap_or(0);
            if number("requests") == requests {
                let fields = [
                    "input_tokens",
                    "output_tokens",
                    "cache_read_tokens",
                    "cache_write_5m_tokens",
                    "cache_write_1h_tokens",
                ];
                let dollars = row["cost_usd"].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
                return Ok(Booked { dollars, tokens: fields.map(number) });
            }
            if Instant::now() > end {
                return Err(format!("weir has booked {} of {requests} requests", number("requests")));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the accounts have billed.
    fn billed(&self, requests: u64) -> Result<BilledUsage, String> {
        let mut sum = BilledUsage::default();
        let mut seen = 0;
        for account in &self.accounts {
            let totals =
                account.books_when(PATIENCE, |totals| totals.open == 0).ok_or("an account is still at work")?.totals;
            seen += totals.requests;
            sum.add(&totals.usage());
        }
        if seen == requests { Ok(sum) } else { Err(format!("the accounts have seen {seen} of {requests} requests")) }
    }

    /// The account of each turn of each session.
    fn homes(&self) -> BTreeMap<String, Vec<usize>> {
        let mut turns: BTreeMap<String, BTreeMap<u64, usize>> = BTreeMap::new();
        for (place, account) in self.accounts.iter().enumerate() {
            for entry in account.books().entries {
                let prompt = entry.usage.input + entry.usage.cache_read + entry.usage.cache_write_5m;
                let session = entry.headers.get("anthropic-sim-session").cloned().unwrap_or_default();
                // The prompt's length says which turn it was.
                turns.entry(session).or_default().insert(prompt, place);
            }
        }
        turns.into_iter().map(|(session, turns)| (session, turns.into_values().collect())).collect()
    }
}

/// One turn of one session, which must be served.
fn ask(agent: &Agent, target: &str, turn: usize, session: usize) -> Result<(), String> {
    let text = format!("turn {turn} of session {session}");
    let body = serde_json::json!({"model": MODEL, "max_tokens": ANSWER_TOKENS,
        "messages": [{"role": "user", "content": text}]});
    let session = format!("affinity-{session:06}");
    let sent = agent
        .post(format!("{target}/v1/messages"))
        .header("x-api-key", KEY)
        .header("anthropic-version", "2023-06-01")
        .header("x-claude-code-session-id", &session)
        .header("anthropic-sim-session", &session)
        .header("anthropic-sim", &format!("input_tokens={}", FIRST_TOKENS + TURN_TOKENS * turn as u64))
        .send_json(&body);
    match sent {
        // Whoever leaves before the end cancels the turn.
        Ok(mut answer) if answer.status() == 200 => {
            answer.body_mut().read_to_vec().map(drop).map_err(|error| format!("{text}: {error}"))
        }
        Ok(answer) => Err(format!("{text}: status {}", answer.status())),
        Err(error) => Err(format!("{text}: {error}")),
    }
}

struct Booked {
    dollars: f64,
    /// Input, output, cache reads, cache writes of both kinds.
    tokens: [u64; 5],
}

fn config(strategy: &str, accounts: &[SocketAddr], without: usize) -> String {
    let upstreams: String = accounts
        .iter()
        .enumerate()
        .map(|(at, address)| {
            format!(
                "[[upstream]]\nname = \"account-{at}\"\nprovider = \"anthropic\"\nbase_url = \"http://{address}\"\n\
                 auth = {{ api_key = \"${{AFFINITY_PROVIDER_KEY}}\" }}\n"
            )
        })
        .collect();
    let targets: Vec<String> =
        (without..accounts.len()).map(|at| format!("{{ upstream = \"account-{at}\" }}")).collect();
    format!(
        "[listen]\nclients = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[shards]\ncount = 1\npin = false\n\
         [store]\npath = \"store\"\n[admin]\ntoken = \"${{AFFINITY_ADMIN_TOKEN}}\"\n{upstreams}\
         [[model]]\nid = \"{MODEL}\"\nstrategy = \"{strategy}\"\ntargets = [{}]\n\
         [[key]]\nid = \"fleet\"\nsecret = \"${{AFFINITY_KEY}}\"\n",
        targets.join(", ")
    )
}
