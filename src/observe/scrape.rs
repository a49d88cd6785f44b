//! Figures that are not counted but looked up when a scraper asks: shards, budgets, the journal.

use super::names;
use crate::{
    kernel::{
        account::{Account, Mode},
        identity::IssuerTable,
        money::{NANOS_PER_DOLLAR, Nanos},
        names::NameId,
        overload::class::Class,
        routing::health::Condition,
        standing::Registry,
        time::UnixMs,
    },
    link::{board::UpstreamGauges, gauges::ShardGauges},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// All budget accounts of the newest configuration, those of coming windows included.
pub type Accounts = Arc<dyn Fn() -> Vec<(Arc<Account>, Mode)> + Send + Sync>;

/// The upstreams of the newest configuration.
pub type Upstreams = Arc<dyn Fn() -> Vec<(NameId, String)> + Send + Sync>;

/// What is shown of the journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalFigures {
    /// Is it being written?
    pub accepting: bool,
    /// How far the ledger is behind, seconds.
    pub lag_seconds: f64,
}

/// What is shown of the export.
#[derive(Clone, Copy, Debug)]
pub struct ExportFigures {
    /// How far the destination is behind, seconds.
    pub lag_seconds: f64,
    /// Records exported.
    pub records: u64,
    /// Runs that failed.
    pub failures: u64,
}

/// The export at a moment; none where none is configured.
pub type ExportSource = Arc<dyn Fn(UnixMs) -> Option<ExportFigures> + Send + Sync>;

/// Where figures are looked up.
#[derive(Clone)]
pub struct Sources {
    /// One per shard.
    pub shards: Vec<Arc<ShardGauges>>,
    /// Which upstreams there are.
    pub upstreams: Upstreams,
    /// The budgets.
    pub accounts: Accounts,
    /// What all shards share of names, accounts and limiters.
    pub registry: Arc<Registry>,
    /// The journal, at a moment.
    pub journal: Arc<dyn Fn(UnixMs) -> JournalFigures + Send + Sync>,
    /// The export.
    pub export: ExportSource,
    /// Issuers of tokens, as the newest configuration has them.
    pub issuers: Arc<dyn Fn() -> Arc<IssuerTable> + Send + Sync>,
}

pub(super) struct Scrape(Sources);

impl Scrape {
    pub fn new(sources: Sources) -> Self {
        Self(sources)
    }

    /// The sum of a figure over all shards, for each upstream.
    fn per_upstream(&self, figure: impl Fn(&UpstreamGauges) -> u64) -> Vec<(String, u64)> {
        let rows = |name| self.0.shards.iter().filter_map(move |shard| shard.upstreams.row(name));
        (self.0.upstreams)().into_iter().map(|(id, name)| (name, rows(id).map(&figure).sum())).collect()
    }

    fn upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ejected = |row: &UpstreamGauges| u64::from(row.condition() > Condition::Recovering);
        for (name, help, figures) in [
            (names::UPSTREAM_EJECTED, "Shards that have the upstream ejected now", self.per_upstream(ejected)),
            (names::UPSTREAM_IN_FLIGHT, "Requests running there now", self.per_upstream(|row| row.in_flight.get())),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (upstream, value) in figures {
                family.encode_family(&[("upstream", upstream)])?.encode_gauge(&value)?;
            }
        }
        let denied = self.per_upstream(|row| row.retries_denied.get());
        for (name, help, figures) in [
            (names::UPSTREAM_EJECTIONS, "Ejections, over all shards", self.per_upstream(|row| row.ejections.get())),
            (names::UPSTREAM_RETRIES_DENIED, "Failures not tried elsewhere for want of retry budget", denied),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (upstream, value) in figures {
                family
                    .encode_family(&[("upstream", upstream)])?
                    .encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    /// Room by scope. Where a scope has several budgets, a daily and a monthly one, the smallest room is the one that binds.
    fn room(&self, now: UnixMs) -> BTreeMap<String, Nanos> {
        let mut rooms = BTreeMap::new();
        for (account, _) in (self.0.accounts)() {
            if account.window.contains(now.seconds()) {
                let room = account.free() + account.held() - account.reserved();
                let place = rooms.entry(account.scope.to_string()).or_insert(room);
                *place = room.min(*place);
            }
        }
        rooms
    }

    fn counters(&self) -> [(&'static str, &'static str, u64); 12] {
        let sum = |figure: fn(&ShardGauges) -> u64| self.0.shards.iter().map(|s| figure(s)).sum();
        [
            (
                names::RECORDS_LOST,
                "Requests that left no record: the ring to the journal was full",
                sum(|s| s.records_lost.get()),
            ),
            (
                names::REQUESTS_QUEUED,
                "Requests that had to wait for a place on a shard or at an upstream",
                sum(|s| s.requests_queued.get()),
            ),
            (
                names::REQUESTS_TURNED_AWAY,
                "Requests refused because no place came free in time, or too many waited",
                sum(|s| s.requests_turned_away.get()),
            ),
            (names::DUPLICATE_TURNS, "Requests that repeat one that still runs", sum(|s| s.duplicates.get())),
            (
                names::DUPLICATES_UNTRACKED,
                "Requests that would not be recognised if repeated: too many run",
                self.0.registry.turns.untracked(),
            ),
            (names::METERS_GAVE_UP, "Answers whose metering was given up", sum(|s| s.meters_gave_up.get())),
            (
                names::COUNTS_DIFFERED,
                "Answers whose provider counted tokens twice, and differently",
                sum(|s| s.counts_differed.get()),
            ),
            (
                names::BODIES_REFUSED,
                "Requests refused because their bodies could not be stored",
                sum(|s| s.bodies_refused.get()),
            ),
            (
                names::BODIES_DROPPED,
                "Requests whose bodies should have been stored, and were dropped",
                sum(|s| s.bodies_dropped.get()),
            ),
            (names::PANICS, "Connections ended by a panic", sum(|s| s.panics.get())),
            (names::CONNECTIONS_REFUSED, "Client connections turned away", sum(|s| s.connections_refused.get())),
            (
                names::FIRST_SIGHT_REFUSED,
                "Requests of callers or sessions refused because there were too many accounts or limiters",
                self.0.registry.accounts.refused() + self.0.registry.limiters.refused(),
            ),
        ]
    }
}

fn encode_export(encoder: &mut DescriptorEncoder<'_>, figures: &ExportFigures) -> Result<(), fmt::Error> {
    let (name, help) = (names::EXPORT_LAG_SECONDS, "How far the export is behind the journal, at most");
    let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(figures.lag_seconds).encode(gauge)?;
    let counters = [
        (names::EXPORT_RECORDS, "Records exported", figures.records),
        (names::EXPORT_FAILURES, "Runs of the export that failed", figures.failures),
    ];
    for (name, help, value) in counters {
        ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    Ok(())
}

fn encode_token_keys(
    encoder: &mut DescriptorEncoder<'_>,
    issuers: &IssuerTable,
    now: UnixMs,
) -> Result<(), fmt::Error> {
    if issuers.published().next().is_none() {
        return Ok(());
    }
    let (name, help) = (names::TOKEN_KEYS_AGE_SECONDS, "Age of the keys that an issuer of tokens publishes");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (issuer, as_of) in issuers.published() {
        family.encode_family(&[("issuer", issuer)])?.encode_gauge(&now.seconds().saturating_sub(as_of).max(0))?;
    }
    Ok(())
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("shards", &self.0.shards.len()).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64));
        let journal = (self.0.journal)(now);
        let streams: u64 = self.0.shards.iter().map(|s| s.streams.get()).sum();
        let waiting: u64 = self.0.shards.iter().map(|s| s.body_lane_bytes.get()).sum();
        let queued: u64 = self.0.shards.iter().map(|s| s.requests_waiting.get()).sum();
        let gauges = [
            (names::BODIES_WAITING_BYTES, "Bytes of bodies waiting to be stored", waiting as f64),
            (names::REQUESTS_WAITING, "Requests waiting for a place now", queued as f64),
            (names::STREAMS_OPEN, "Answers streaming now", streams as f64),
            (names::LEDGER_LAG_SECONDS, "How far the ledger is behind the shards", journal.lag_seconds),
            (names::JOURNAL_ACCEPTING, "Is the journal being written", f64::from(u8::from(journal.accepting))),
        ];
        for (name, help, value) in gauges {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        for (name, help, value) in self.counters() {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        for (name, help, figure) in [
            (
                names::DUPLICATES_LOST_USD,
                "What requests cost that were repeated while they ran, US dollars",
                (|s| s.duplicates_lost_nanos.get()) as fn(&ShardGauges) -> u64,
            ),
            (names::DUPLICATES_SAVED_USD, "What ending them has saved, US dollars", |s| s.duplicates_saved_nanos.get()),
        ] {
            let nanos: u64 = self.0.shards.iter().map(|s| figure(s)).sum();
            let value = dollars(Nanos(i64::try_from(nanos).unwrap_or(i64::MAX)));
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let help = "Requests turned away before a shard was full";
        let mut family = encoder.encode_descriptor(names::REQUESTS_SHED, help, None, MetricType::Counter)?;
        for class in Class::ALL {
            let count: u64 = self.0.shards.iter().map(|s| s.requests_shed[class as usize].get()).sum();
            family.encode_family(&[("class", class.as_str())])?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        if let Some(figures) = (self.0.export)(now) {
            encode_export(&mut encoder, &figures)?;
        }
        encode_token_keys(&mut encoder, &(self.0.issuers)(), now)?;
        let mut family =
            encoder.encode_descriptor(names::SHARD_CONNECTIONS, "Client connections now", None, MetricType::Gauge)?;
        for (shard, gauges) in self.0.shards.iter().enumerate() {
            family.encode_family(&[("shard", shard)])?.encode_gauge(&gauges.connections.get())?;
        }
        let help = "Budget accounts of callers that no key stands for, and of those the accounts of single sessions";
        let mut family = encoder.encode_descriptor(names::FIRST_SIGHT_ACCOUNTS, help, None, MetricType::Gauge)?;
        let (all, sessions) = self.0.registry.accounts.at_first_sight();
        for (kind, count) in [("caller", all.saturating_sub(sessions)), ("session", sessions)] {
            family.encode_family(&[("kind", kind)])?.encode_gauge(&(count as u64))?;
        }
        self.upstreams(&mut encoder)?;
        let help = "Money left in the tightest budget of a scope, reservations taken off, US dollars";
        let mut family = encoder.encode_descriptor(names::BUDGET_REMAINING_USD, help, None, MetricType::Gauge)?;
        for (scope, room) in self.room(now) {
            family.encode_family(&[("scope", scope)])?.encode_gauge(&dollars(room))?;
        }
        Ok(())
    }
}

/// Dollars as a number, for metrics alone: sums of money are integers.
pub(super) fn dollars(amount: Nanos) -> f64 {
    amount.0 as f64 / NANOS_PER_DOLLAR as f64
}
