//! History at other prices: what each closed request would have cost. Nothing is written; the journal keeps what was booked.
//!
//! A request whose usage was reported and kept is billed from the provider's own usage objects, as if it were settled now. Of
//! others there are only the counts in the record: estimates, answers whose objects were too large to keep, and requests of a
//! weir that did not keep them. They are priced as one message of the model that was asked for.

use super::{Dimension, UsageQuery, cells::Class, grouping::ORG};
use crate::{
    control::config::Config,
    dialect::anthropic::usage::UsageTally,
    kernel::{
        money::Nanos,
        names::Names,
        pricing::{PriceBook, Rates},
        record::{Outcome, Record},
        time::UnixMs,
        usage::UsageSource,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// One group: what was booked, and what it comes to now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepricedRow {
    /// Its names, in the order asked for.
    pub group: Vec<String>,
    /// Requests that were not refused.
    pub requests: u64,
    /// Of these, priced from the counts in the record alone.
    pub from_counts: u64,
    /// As booked.
    pub booked: Nanos,
    /// At the prices given.
    pub repriced: Nanos,
}

/// Prices records again and adds them up.
pub struct Reprice {
    book: PriceBook,
    // Upstream and id, as clients write it: the id that the upstream is asked for.
    asked: HashMap<(String, String), String>,
    names: Arc<Names>,
    query: UsageQuery,
    rows: BTreeMap<Vec<String>, RepricedRow>,
}

impl Reprice {
    /// Prices are those of `config`; `query` says which requests count and how they are grouped, to the second.
    pub fn new(config: &Config, names: Arc<Names>, query: UsageQuery) -> Self {
        let mut asked = HashMap::new();
        for model in &config.models {
            for target in &model.targets {
                for id in std::iter::once(&model.id).chain(&model.aliases) {
                    let at_upstream = target.model.as_ref().unwrap_or(&model.id);
                    asked.entry((target.upstream.clone(), id.clone())).or_insert_with(|| at_upstream.clone());
                }
            }
        }
        Self { book: config.price_book(), asked, names, query, rows: BTreeMap::new() }
    }

    /// The name of the prices that count.
    pub fn version(&self) -> &str {
        self.book.version()
    }

    /// Takes a record.
    pub fn add(&mut self, record: &Record) {
        let began = record.started_at.seconds();
        let before = self.query.since.is_some_and(|since| began < since);
        let after = self.query.until.is_some_and(|until| began >= until);
        if record.outcome == Outcome::Refused || before || after {
            return;
        }
        let (repriced, from_counts) = self.cost(record);
        let group: Vec<String> = self.query.group_by.iter().map(|dimension| self.name(*dimension, record)).collect();
        let row = self.rows.entry(group).or_default();
        row.requests += 1;
        row.from_counts += u64::from(from_counts);
        row.booked += record.cost;
        row.repriced += repriced;
    }

    /// All groups, by name.
    pub fn rows(self) -> Vec<RepricedRow> {
        self.rows.into_iter().map(|(group, row)| RepricedRow { group, ..row }).collect()
    }

    /// What a request costs now, and whether that comes from its counts alone.
    fn cost(&self, record: &Record) -> (Nanos, bool) {
        if record.usage_source == UsageSource::None {
            return (Nanos::ZERO, false);
        }
        let upstream = record.upstream.map(|id| self.names.name_of(id)).unwrap_or_else(|| "".into());
        let own = self.own_rates(record, &upstream);
        let told = record.usage_raw.as_deref().filter(|_| record.usage_source == UsageSource::Reported);
        match told.and_then(UsageTally::of_raw) {
            Some(tally) => {
                let billed = tally.bill(&tally.usage(), &own, |model| self.book.rates(&upstream, model, model));
                (billed.cost, false)
            }
            None => (own.cost(&record.usage), true),
        }
    }

    /// The rates of the model that was asked for. Where this configuration no longer knows an alias, the model that answered
    /// says what it meant.
    fn own_rates(&self, record: &Record, upstream: &str) -> Rates {
        let requested = record.model_requested.as_str();
        let listed = self.asked.get(&(upstream.to_owned(), requested.to_owned()));
        let asked = match listed {
            Some(id) => id,
            None if PriceBook::knows(requested) || record.model_served.is_empty() => requested,
            None => record.model_served.as_str(),
        };
        self.book.rates(upstream, asked, requested)
    }

    fn name(&self, dimension: Dimension, record: &Record) -> String {
        let principal = || record.principal.map(|id| self.names.principal_of(id)).unwrap_or_default();
        let served = if record.model_served.is_empty() { &record.model_requested } else { &record.model_served };
        let time = |length: usize, rest: &str| {
            let text = UnixMs(record.started_at.0).rfc3339();
            format!("{}{rest}", text.get(..length).unwrap_or(&text))
        };
        match dimension {
            Dimension::Org => ORG.into(),
            Dimension::Team => principal().team.clone(),
            Dimension::Project => principal().project.clone(),
            Dimension::User => principal().user.clone(),
            Dimension::Key => principal().key.clone(),
            Dimension::Session => record.session.as_str().into(),
            Dimension::Model => served.as_str().into(),
            Dimension::Upstream => {
                record.upstream.map_or_else(String::new, |id| self.names.name_of(id).as_ref().into())
            }
            Dimension::Day => time(10, ""),
            Dimension::Hour => time(13, ":00:00Z"),
            Dimension::Minute => time(16, ":00Z"),
            Dimension::ServiceTier => Class::of(&record.usage).tier().into(),
            Dimension::ContextWindow => Class::of(&record.usage).context().into(),
            Dimension::InferenceGeo => Class::of(&record.usage).geo().into(),
            Dimension::Speed => Class::of(&record.usage).speed().into(),
        }
    }
}
