//! Rows by hour, principal, session, model and upstream, and the sums over them.

use super::{Dimension, MODELS_MAX, UsageQuery};
use crate::{
    kernel::{
        ids::PrincipalId,
        money::Nanos,
        names::{NameId, Names},
        record::Record,
        usage::UsageSource,
    },
    observe::names::OTHER,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const HOUR_SECONDS: i64 = 3600;
const DAY_HOURS: i64 = 24;
/// The one organisation there is.
pub(super) const ORG: &str = "default";

/// What is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests that were not refused.
    pub requests: u64,
    /// Of these, with usage that weir estimated.
    pub estimated_requests: u64,
    /// Uncached input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens read from the prompt cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the five-minute cache.
    pub cache_write_5m_tokens: u64,
    /// Tokens written to the one-hour cache.
    pub cache_write_1h_tokens: u64,
    /// Web searches.
    pub web_searches: u64,
    /// Money.
    pub cost: Nanos,
}

impl Sums {
    fn of(record: &Record) -> Self {
        Self {
            requests: 1,
            estimated_requests: u64::from(record.usage_source == UsageSource::Estimated),
            input_tokens: record.usage.input,
            output_tokens: record.usage.output,
            cache_read_tokens: record.usage.cache_read,
            cache_write_5m_tokens: record.usage.cache_write_5m,
            cache_write_1h_tokens: record.usage.cache_write_1h,
            web_searches: record.usage.web_search,
            cost: record.cost,
        }
    }

    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.estimated_requests, other.estimated_requests),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_5m_tokens, other.cache_write_5m_tokens),
            (&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            (&mut self.web_searches, other.web_searches),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
        self.cost += other.cost;
    }
}

/// One row of an answer: the names of its group, and the sums. Serialises as interface.md §4 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Dimension and name, in the order asked for; an empty name where a request had none.
    pub group: Vec<(Dimension, String)>,
    /// The sums of the group.
    pub sums: Sums,
}

impl Serialize for UsageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.group.len() + 9))?;
        for (dimension, name) in &self.group {
            map.serialize_entry(dimension.as_str(), name)?;
        }
        map.serialize_entry("requests", &self.sums.requests)?;
        map.serialize_entry("input_tokens", &self.sums.input_tokens)?;
        map.serialize_entry("output_tokens", &self.sums.output_tokens)?;
        map.serialize_entry("cache_read_tokens", &self.sums.cache_read_tokens)?;
        map.serialize_entry("cache_write_5m_tokens", &self.sums.cache_write_5m_tokens)?;
        map.serialize_entry("cache_write_1h_tokens", &self.sums.cache_write_1h_tokens)?;
        map.serialize_entry("cost_usd", &self.sums.cost.to_string())?;
        // Additions to the fixed surface: what of this is an estimate, and the one thing that is not counted in tokens.
        map.serialize_entry("estimated_requests", &self.sums.estimated_requests)?;
        map.serialize_entry("web_searches", &self.sums.web_searches)?;
        map.end()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct RowKey {
    principal: Option<PrincipalId>,
    model: u32,
    upstream: Option<NameId>,
    session: Box<str>,
}

/// All rows. When there are more than `rows_max`, the oldest hours lose their sessions, and after that the oldest days their
/// hours: sums over anything else stay exact.
pub(super) struct Rollup {
    hours: BTreeMap<i64, HashMap<RowKey, Sums>>,
    models: Vec<Arc<str>>,
    model_places: HashMap<Arc<str>, u32>,
    rows: usize,
    rows_max: usize,
    fold_at: usize,
}

/// The part of a row's key that a question asks for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Asked<'a> {
    time: i64,
    principal: Option<PrincipalId>,
    model: Option<u32>,
    upstream: Option<NameId>,
    session: &'a str,
}

impl Rollup {
    pub fn new(rows_max: usize) -> Self {
        Self {
            hours: BTreeMap::new(),
            models: Vec::new(),
            model_places: HashMap::new(),
            rows: 0,
            rows_max,
            fold_at: rows_max,
        }
    }

    pub fn add(&mut self, record: &Record) {
        let model = if record.model_served.is_empty() { &record.model_requested } else { &record.model_served };
        let key = RowKey {
            principal: record.principal,
            model: self.model(model),
            upstream: record.upstream,
            session: record.session.as_str().into(),
        };
        let hour = record.started_at.seconds().div_euclid(HOUR_SECONDS);
        self.put(hour, key, &Sums::of(record));
        if self.rows > self.fold_at {
            self.fold();
        }
    }

    fn put(&mut self, hour: i64, key: RowKey, sums: &Sums) {
        let rows = self.hours.entry(hour).or_default();
        let before = rows.len();
        rows.entry(key).or_default().add(sums);
        self.rows += rows.len() - before;
    }

    fn model(&mut self, text: &str) -> u32 {
        if let Some(place) = self.model_places.get(text) {
            return *place;
        }
        if text != OTHER && self.models.len() >= MODELS_MAX {
            return self.model(OTHER);
        }
        let (place, text): (_, Arc<str>) = (self.models.len() as u32, text.into());
        self.models.push(text.clone());
        self.model_places.insert(text, place);
        place
    }

    /// Makes room, down to nine tenths, so that it is not done again at once.
    fn fold(&mut self) {
        let target = self.rows_max / 10 * 9;
        let Some(newest) = self.hours.keys().next_back().copied() else { return };
        let past: Vec<i64> = self.hours.range(..newest).map(|(hour, _)| *hour).collect();
        for hour in &past {
            if self.rows > target {
                self.refile(*hour, *hour);
            }
        }
        for hour in past {
            let day = hour.div_euclid(DAY_HOURS) * DAY_HOURS;
            if self.rows > target && hour != day && hour.div_euclid(DAY_HOURS) != newest.div_euclid(DAY_HOURS) {
                self.refile(hour, day);
            }
        }
        self.fold_at = self.rows_max.max(self.rows + self.rows / 4);
        tracing::info!(rows = self.rows, "the ledger has folded its oldest hours");
    }

    /// Books an hour's rows again, without their sessions, at `to`.
    fn refile(&mut self, from: i64, to: i64) {
        let rows = self.hours.remove(&from).unwrap_or_default();
        self.rows -= rows.len();
        for (key, sums) in rows {
            self.put(to, RowKey { session: "".into(), ..key }, &sums);
        }
    }

    #[cfg(test)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn usage(&self, query: &UsageQuery, names: &Names) -> Vec<UsageRow> {
        // First by numbers, then by names: there are many rows, and few numbers.
        let mut numbered: HashMap<Asked<'_>, Sums> = HashMap::new();
        let first = query.since.map_or(i64::MIN, |s| s.div_euclid(HOUR_SECONDS));
        for (hour, rows) in self.hours.range(first..) {
            if query.until.is_some_and(|until| hour * HOUR_SECONDS >= until) {
                break;
            }
            for (key, sums) in rows {
                numbered.entry(Asked::of(*hour, key, &query.group_by)).or_default().add(sums);
            }
        }
        let mut named: HashMap<Vec<String>, Sums> = HashMap::new();
        for (asked, sums) in &numbered {
            let group = query.group_by.iter().map(|d| self.name(*d, asked, names)).collect();
            named.entry(group).or_default().add(sums);
        }
        if query.group_by.is_empty() && named.is_empty() {
            named.insert(Vec::new(), Sums::default());
        }
        let mut rows: Vec<(Vec<String>, Sums)> = named.into_iter().collect();
        if query.group_by.iter().any(|d| matches!(d, Dimension::Day | Dimension::Hour)) {
            rows.sort_by(|a, b| a.0.cmp(&b.0));
        } else {
            rows.sort_by(|a, b| (Reverse(a.1.cost), &a.0).cmp(&(Reverse(b.1.cost), &b.0)));
        }
        let row = |(group, sums): (Vec<String>, Sums)| UsageRow {
            group: query.group_by.iter().copied().zip(group).collect(),
            sums,
        };
        rows.into_iter().map(row).collect()
    }

    fn name(&self, dimension: Dimension, asked: &Asked<'_>, names: &Names) -> String {
        let principal = |field: fn(&crate::kernel::keys::Principal) -> &String| {
            asked.principal.map_or_else(String::new, |id| field(&names.principal_of(id)).clone())
        };
        match dimension {
            Dimension::Org => ORG.into(),
            Dimension::Team => principal(|p| &p.team),
            Dimension::Project => principal(|p| &p.project),
            Dimension::User => principal(|p| &p.user),
            Dimension::Key => principal(|p| &p.key),
            Dimension::Session => asked.session.into(),
            Dimension::Model => asked
                .model
                .and_then(|place| self.models.get(place as usize))
                .map_or_else(String::new, |m| m.as_ref().into()),
            Dimension::Upstream => asked.upstream.map_or_else(String::new, |id| names.name_of(id).as_ref().into()),
            Dimension::Day => time_text(asked.time, "%Y-%m-%d"),
            Dimension::Hour => time_text(asked.time, "%Y-%m-%dT%H:00:00Z"),
        }
    }
}

impl<'a> Asked<'a> {
    fn of(hour: i64, key: &'a RowKey, group_by: &[Dimension]) -> Self {
        let mut asked = Self::default();
        for dimension in group_by {
            match dimension {
                Dimension::Org => {}
                Dimension::Team | Dimension::Project | Dimension::User | Dimension::Key => {
                    asked.principal = key.principal
                }
                Dimension::Session => asked.session = &key.session,
                Dimension::Model => asked.model = Some(key.model),
                Dimension::Upstream => asked.upstream = key.upstream,
                Dimension::Day => asked.time = asked.time.max(hour.div_euclid(DAY_HOURS) * DAY_HOURS),
                Dimension::Hour => asked.time = hour,
            }
        }
        asked
    }
}

fn time_text(hour: i64, format: &str) -> String {
    jiff::Timestamp::from_second(hour * HOUR_SECONDS)
        .map_or_else(|_| hour.to_string(), |t| t.to_zoned(jiff::tz::TimeZone::UTC).strftime(format).to_string())
}
