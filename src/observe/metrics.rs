//! What is counted as records come in, and the text a scraper gets.

use super::{
    Sources,
    batch::Batch,
    connections::ConnectionScrape,
    credentials::{CredentialScrape, Credentials},
    names::{self, CACHE_CAUSES, LABEL_VALUES_MAX, OTHER, REFUSAL_REASONS, TOKEN_KINDS},
    scrape::Scrape,
};
use crate::kernel::{
    money::Nanos,
    names::Names,
    record::{AttemptResult, Format, Operation, Outcome, Record},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{collections::HashSet, sync::atomic::AtomicU64};

/// The type of what `text` gives, for the answer's head.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of `weir_ttfb_seconds`: models think for seconds, sometimes minutes.
const TTFB_BUCKETS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 180.0];
/// Upper bounds of `weir_gateway_overhead_seconds`: tens of microseconds are usual, milliseconds are news.
const OVERHEAD_BUCKETS: [f64; 12] =
    [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    format: &'static str,
    operation: &'static str,
    status: u16,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    kind: &'static str,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TeamLabels {
    team: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<TeamLabels, Counter<f64, AtomicU64>>,
    attempts: Family<AttemptLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    cache_dropped: Family<CauseLabels, Counter>,
    cache_lost_tokens: Family<CauseLabels, Counter>,
    cache_lost: Family<CauseLabels, Counter<f64, AtomicU64>>,
    ttfb: Histogram,
    overhead: Histogram,
    models: OpenLabel,
    teams: OpenLabel,
}

/// A label whose values others choose: the first `LABEL_VALUES_MAX` keep their name.
#[derive(Default)]
struct OpenLabel(Mutex<HashSet<String>>);

impl OpenLabel {
    fn value(&self, text: &str) -> String {
        let mut seen = self.0.lock();
        if !seen.contains(text) {
            if seen.len() >= LABEL_VALUES_MAX {
                return OTHER.into();
            }
            seen.insert(text.into());
        }
        text.into()
    }
}

impl Metrics {
    /// Registers everything; where the set of labels is closed, zeros are there from the start.
    pub fn new(sources: Sources) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            attempts: Family::default(),
            refused: Family::default(),
            cache_dropped: Family::default(),
            cache_lost_tokens: Family::default(),
            cache_lost: Family::default(),
            ttfb: Histogram::new(TTFB_BUCKETS),
            overhead: Histogram::new(OVERHEAD_BUCKETS),
            models: OpenLabel::default(),
            teams: OpenLabel::default(),
        };
        metrics.zeros();
        metrics.registered(sources)
    }

    fn registered(mut self, sources: Sources) -> Self {
        let r = &mut self.registry;
        r.register(names::REQUESTS, "Requests, by how they ended", self.requests.clone());
        r.register(names::TOKENS, "Tokens used", self.tokens.clone());
        r.register(names::COST_USD, "Money spent, US dollars", self.cost.clone());
        r.register(names::UPSTREAM_ATTEMPTS, "Attempts at upstreams, by how they ended", self.attempts.clone());
        r.register(names::REFUSED, "Refused requests, by the fault that refused them", self.refused.clone());
        let help = "Sessions whose prompt cache was lost to a change";
        r.register(names::CACHE_DROPPED_SESSIONS, help, self.cache_dropped.clone());
        let help = "Tokens that could not be read from a cache because of a change";
        r.register(names::CACHE_LOST_TOKENS, help, self.cache_lost_tokens.clone());
        let help = "What these cost more than reading them would have, US dollars";
        r.register(names::CACHE_LOST_USD, help, self.cache_lost.clone());
        r.register(
            names::TTFB_SECONDS,
            "From the request's head to the first byte of the answer's body",
            self.ttfb.clone(),
        );
        r.register(names::GATEWAY_OVERHEAD_SECONDS, "Time of a request spent in weir itself", self.overhead.clone());
        r.register_collector(Box::new(ConnectionScrape(sources.shards.clone())));
        r.register_collector(Box::new(Scrape::new(sources)));
        self
    }

    /// Shows the credentials of upstreams too.
    pub fn watch_credentials(&mut self, credentials: Credentials) {
        self.registry.register_collector(Box::new(CredentialScrape(credentials)));
    }

    fn zeros(&self) {
        for reason in REFUSAL_REASONS {
            self.refused.get_or_create(&ReasonLabels { reason }).inc_by(0);
        }
        for cause in CACHE_CAUSES {
            self.cache_dropped.get_or_create(&CauseLabels { cause }).inc_by(0);
            self.cache_lost_tokens.get_or_create(&CauseLabels { cause }).inc_by(0);
            self.cache_lost.get_or_create(&CauseLabels { cause }).inc_by(0.0);
        }
        for format in [Format::Anthropic, Format::Bedrock, Format::Vertex] {
            // Statuses are an open set; the one that matters is there from the start.
            self.requests
                .get_or_create(&RequestLabels {
                    format: format.as_str(),
                    operation: Operation::Messages.as_str(),
                    status: 200,
                    outcome: Outcome::Completed.as_str(),
                })
                .inc_by(0);
        }
    }

    /// Exports zeros for an upstream of the configuration.
    pub fn announce_upstream(&self, upstream: &str) {
        use AttemptResult::{Answered, Broken, Cancelled, TimedOut, Unreachable};
        for result in [Answered, Unreachable, TimedOut, Broken, Cancelled] {
            self.attempts
                .get_or_create(&AttemptLabels { upstream: upstream.into(), result: result.as_str() })
                .inc_by(0);
        }
    }

    /// Counts a session that lost its prompt cache to a change.
    pub fn observe_cache_loss(&self, cause: &'static str, tokens: u64, cost: Nanos) {
        self.cache_dropped.get_or_create(&CauseLabels { cause }).inc();
        self.cache_lost_tokens.get_or_create(&CauseLabels { cause }).inc_by(tokens);
        self.cache_lost.get_or_create(&CauseLabels { cause }).inc_by(super::scrape::dollars(cost).max(0.0));
    }

    /// Begins to count closed requests.
    pub fn count<'a>(&'a self, names: &'a Names) -> Count<'a> {
        Count { metrics: self, names, batch: Batch::default() }
    }

    fn take(&self, batch: &Batch, names: &Names) {
        for ((format, operation, status, outcome), n) in &batch.requests {
            let (format, operation, outcome) = (format.as_str(), operation.as_str(), outcome.as_str());
            self.requests.get_or_create(&RequestLabels { format, operation, status: *status, outcome }).inc_by(*n);
        }
        for ((upstream, result), n) in &batch.attempts {
            let upstream = names.name_of(*upstream).as_ref().into();
            self.attempts.get_or_create(&AttemptLabels { upstream, result: result.as_str() }).inc_by(*n);
        }
        for (reason, n) in &batch.refused {
            self.refused.get_or_create(&ReasonLabels { reason }).inc_by(*n);
        }
        for (model, counts) in &batch.tokens {
            let model = self.models.value(model);
            for (kind, n) in TOKEN_KINDS.into_iter().zip(counts) {
                self.tokens.get_or_create(&TokenLabels { kind, model: model.clone() }).inc_by(*n);
            }
        }
        for (principal, cost) in &batch.costs {
            let team = principal.map_or_else(String::new, |id| self.teams.value(&names.principal_of(id).team));
            self.cost.get_or_create(&TeamLabels { team }).inc_by(super::scrape::dollars(*cost));
        }
    }

    /// Everything as text, in the form of `CONTENT_TYPE`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail; a metric that cannot be shown ends the text early, and scrapers see that.
        if let Err(error) = text::encode(&mut out, &self.registry) {
            tracing::error!(%error, "metrics cannot be written as text");
        }
        out
    }
}

/// Counts closed requests; what they add up to is shown at the `end`.
#[must_use = "what is not ended is not shown"]
pub struct Count<'a> {
    metrics: &'a Metrics,
    names: &'a Names,
    batch: Batch,
}

impl Count<'_> {
    /// Counts one.
    pub fn add(&mut self, record: &Record) {
        let Self { metrics, names, batch } = self;
        if batch.is_full() {
            metrics.take(&std::mem::take(batch), names);
        }
        batch.add(record);
        if record.outcome != Outcome::Refused {
            metrics.overhead.observe(seconds(record.gateway_us));
            if record.ttfb_us > 0 {
                metrics.ttfb.observe(seconds(record.ttfb_us));
            }
        }
    }

    /// Adds them to the metrics.
    pub fn end(self) {
        self.metrics.take(&self.batch, self.names);
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{
            account::{Account, AccountId, Mode, Scope},
            keys::Principal,
            money::Nanos,
            names::NameId,
            record::{Attempt, inline},
            usage::Usage,
            window::{Period, Window},
        },
        link::gauges::ShardGauges,
        observe::{ExportFigures, JournalFigures},
    };
    use std::sync::Arc;

    fn sources() -> Sources {
        let shards: Vec<Arc<ShardGauges>> = vec![Arc::default(), Arc::default()];
        shards[1].connections.set(7);
        shards.iter().for_each(|s| s.streams.set(2));
        shards[0].upstreams.write([(NameId(3), 5)].into_iter(), |row, running| row.in_flight.set(running));
        let account =
            Account::new(AccountId(0), Scope::Org, Period::Total, Window::ALWAYS, Nanos(5_000_000_000), Nanos(1), 2);
        account.draw(1, Nanos(1000));
        account.publish_reserved(1, Nanos(499_999_999));
        let wide =
            Account::new(AccountId(1), Scope::Org, Period::Total, Window::ALWAYS, Nanos(i64::MAX), Nanos::ZERO, 2);
        let accounts = [(Arc::new(wide), Mode::Soft), (Arc::new(account), Mode::Hard)];
        Sources {
            shards,
            upstreams: Arc::new(|| vec![(NameId(3), "main".to_owned())]),
            accounts: Arc::new(move || accounts.to_vec()),
            registry: Arc::default(),
            journal: Arc::new(|_| JournalFigures { accepting: true, lag_seconds: 0.25 }),
            export: Arc::new(|_| Some(ExportFigures { lag_seconds: 1.5, records: 2, failures: 3 })),
            issuers: Arc::new(Arc::default),
        }
    }

    #[test]
    fn what_can_be_zero_is_there_before_the_first_request() {
        let metrics = Metrics::new(sources());
        metrics.announce_upstream("main");
        let text = metrics.text();
        for line in [
            "weir_refused_total{reason=\"budget_spent\"} 0",
            "weir_requests_total{format=\"bedrock\",operation=\"messages\",status=\"200\",outcome=\"completed\"} 0",
            "weir_upstream_attempts_total{upstream=\"main\",result=\"timed_out\"} 0",
            "weir_ttfb_seconds_count 0",
            "weir_gateway_overhead_seconds_count 0",
            "weir_streams_open 4.0",
            "weir_ledger_lag_seconds 0.25",
            "weir_journal_accepting 1.0",
            "weir_export_lag_seconds 1.5",
            "weir_export_records_total 2",
            "weir_export_failures_total 3",
            "weir_records_lost_total 0",
            "weir_shard_connections{shard=\"1\"} 7",
            "weir_upstream_in_flight{upstream=\"main\"} 5",
            "weir_upstream_connections_retired_total{reason=\"age\"} 0",
            "weir_upstream_tls_handshakes_total{resumed=\"true\"} 0",
            "weir_upstream_retries_denied_total{upstream=\"main\"} 0",
            "weir_budget_remaining_usd{scope=\"org\"} 4.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_closed_request_is_counted_once_under_its_names() {
        let metrics = Metrics::new(sources());
        let names = Names::default();
        let principal = names.principal(&Principal { team: "platform".into(), ..Principal::default() });
        let mut record = Record {
            principal: Some(principal),
            operation: Operation::Messages,
            status: 200,
            outcome: Outcome::Completed,
            model_requested: inline(b"sonnet"),
            usage: Usage { input: 3, cache_read: 9, ..Usage::default() },
            cost: Nanos(1_500_000_000),
            ttfb_us: 400_000,
            gateway_us: 30,
            ..Record::default()
        };
        let upstream = names.name("main");
        record.attempts.push(Attempt {
            upstream,
            status: 200,
            result: AttemptResult::Answered,
            duration_us: 1,
            maybe_billed: false,
        });
        let observe = |record: &Record| {
            let mut count = metrics.count(&names);
            count.add(record);
            count.end();
        };
        observe(&record);
        let (usage, cost) = (Usage::default(), Nanos::ZERO);
        let denied = Some("denied");
        let refused =
            Record { outcome: Outcome::Refused, refused_by: denied, status: 65_000, usage, cost, ..record.clone() };
        observe(&refused);
        // What a revocation ended half way is a refusal that cost something.
        let revoked = Record { refused_by: Some("key_revoked"), usage: Usage { output: 4, ..usage }, ..refused };
        observe(&revoked);
        let text = metrics.text();
        for line in [
            "weir_requests_total{format=\"anthropic\",operation=\"messages\",status=\"200\",outcome=\"completed\"} 1",
            "weir_requests_total{format=\"anthropic\",operation=\"messages\",status=\"0\",outcome=\"refused\"} 2",
            "weir_tokens_total{kind=\"cache_read\",model=\"sonnet\"} 9",
            "weir_tokens_total{kind=\"output\",model=\"sonnet\"} 4",
            "weir_cost_usd_total{team=\"platform\"} 1.5",
            "weir_upstream_attempts_total{upstream=\"main\",result=\"answered\"} 3",
            "weir_refused_total{reason=\"denied\"} 1",
            "weir_ttfb_seconds_bucket{le=\"0.5\"} 1",
            "weir_ttfb_seconds_bucket{le=\"0.25\"} 0",
            "weir_gateway_overhead_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_client_that_invents_models_does_not_grow_the_metrics() {
        let label = OpenLabel::default();
        for n in 0..LABEL_VALUES_MAX {
            assert_eq!(label.value(&n.to_string()), n.to_string());
        }
        assert_eq!(label.value("one more"), OTHER);
        assert_eq!(label.value("5"), "5");
    }
}
