//! What is counted as records come in, and the text a scraper gets.

use super::{
    Sources,
    credentials::{CredentialScrape, Credentials},
    names::{self, LABEL_VALUES_MAX, OTHER, REFUSAL_REASONS, TOKEN_KINDS},
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

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<TeamLabels, Counter<f64, AtomicU64>>,
    attempts: Family<AttemptLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
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
        r.register(
            names::TTFB_SECONDS,
            "From the request's head to the first byte of the answer's body",
            self.ttfb.clone(),
        );
        r.register(names::GATEWAY_OVERHEAD_SECONDS, "Time of a request spent in weir itself", self.overhead.clone());
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

    /// Counts a closed request.
    pub fn observe_close(&self, record: &Record, names: &Names) {
        let labels = RequestLabels {
            format: record.format.as_str(),
            operation: record.operation.as_str(),
            // Three digits or nothing, whatever an upstream says.
            status: if (100..1000).contains(&record.status) { record.status } else { 0 },
            outcome: record.outcome.as_str(),
        };
        self.requests.get_or_create(&labels).inc();
        for attempt in &record.attempts {
            let upstream = names.name_of(attempt.upstream).as_ref().into();
            self.attempts.get_or_create(&AttemptLabels { upstream, result: attempt.result.as_str() }).inc();
        }
        if record.outcome == Outcome::Refused {
            self.refused.get_or_create(&ReasonLabels { reason: record.refused_by.unwrap_or(OTHER) }).inc();
            // What a revocation ends has used something all the same.
            self.observe_usage(record, names);
            return;
        }
        self.overhead.observe(seconds(record.gateway_us));
        if record.ttfb_us > 0 {
            self.ttfb.observe(seconds(record.ttfb_us));
        }
        self.observe_usage(record, names);
    }

    fn observe_usage(&self, record: &Record, names: &Names) {
        let usage = &record.usage;
        let counts = [usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h];
        if counts.iter().any(|n| *n > 0) {
            let model = if record.model_served.is_empty() { &record.model_requested } else { &record.model_served };
            let model = self.models.value(model);
            for (kind, n) in TOKEN_KINDS.into_iter().zip(counts) {
                self.tokens.get_or_create(&TokenLabels { kind, model: model.clone() }).inc_by(n);
            }
        }
        // What a batch is booked with until its results are read is no money spent yet; a counter could not take it back.
        let cost = match record.operation {
            Operation::BatchCreate => Nanos::ZERO,
            Operation::BatchResults => record.cost.plus(record.reserved),
            _ => record.cost,
        };
        if cost.0 > 0 {
            let team = record.principal.map_or_else(String::new, |id| self.teams.value(&names.principal_of(id).team));
            self.cost.get_or_create(&TeamLabels { team }).inc_by(super::scrape::dollars(cost));
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
        metrics.observe_close(&record, &names);
        let (usage, cost) = (Usage::default(), Nanos::ZERO);
        let denied = Some("denied");
        let refused =
            Record { outcome: Outcome::Refused, refused_by: denied, status: 65_000, usage, cost, ..record.clone() };
        metrics.observe_close(&refused, &names);
        // What a revocation ended half way is a refusal that cost something.
        let revoked = Record { refused_by: Some("key_revoked"), usage: Usage { output: 4, ..usage }, ..refused };
        metrics.observe_close(&revoked, &names);
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
