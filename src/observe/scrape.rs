//! Figures that are not counted but looked up when a scraper asks: shards, budgets, the journal.

use super::names;
use crate::{
    kernel::{
        account::{Account, Mode},
        identity::IssuerTable,
        money::{NANOS_PER_DOLLAR, Nanos},
        time::UnixMs,
    },
    link::gauges::ShardGauges,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
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
    /// The budgets.
    pub accounts: Accounts,
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

    fn counters(&self) -> [(&'static str, &'static str, u64); 4] {
        let sum = |figure: fn(&ShardGauges) -> u64| self.0.shards.iter().map(|s| figure(s)).sum();
        [
            (
                names::RECORDS_LOST,
                "Requests that left no record: the ring to the journal was full",
                sum(|s| s.records_lost.get()),
            ),
            (names::METERS_GAVE_UP, "Answers whose metering was given up", sum(|s| s.meters_gave_up.get())),
            (names::PANICS, "Connections ended by a panic", sum(|s| s.panics.get())),
            (names::CONNECTIONS_REFUSED, "Client connections turned away", sum(|s| s.connections_refused.get())),
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
        let gauges = [
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
        if let Some(figures) = (self.0.export)(now) {
            encode_export(&mut encoder, &figures)?;
        }
        encode_token_keys(&mut encoder, &(self.0.issuers)(), now)?;
        let mut family =
            encoder.encode_descriptor(names::SHARD_CONNECTIONS, "Client connections now", None, MetricType::Gauge)?;
        for (shard, gauges) in self.0.shards.iter().enumerate() {
            family.encode_family(&[("shard", shard)])?.encode_gauge(&gauges.connections.get())?;
        }
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
