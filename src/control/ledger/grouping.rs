//! From cells to the rows of an answer.

use super::{
    Dimension, Sums, UsageQuery,
    cells::{CellKey, Class, Slots},
    models::Models,
};
use crate::kernel::{
    ids::PrincipalId,
    keys::Principal,
    names::{NameId, Names},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{cmp::Reverse, collections::HashMap};

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 86_400;
/// The one organisation there is.
pub(super) const ORG: &str = "default";

/// One row of an answer: the names of its group, and the sums. Serialises as interface.md §4 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Dimension and name, in the order asked for; an empty name where a request had none.
    pub group: Vec<(Dimension, String)>,
    /// The sums of the group.
    pub sums: Sums,
}

impl UsageRow {
    /// The name in one dimension, if it was asked for.
    pub fn name(&self, dimension: Dimension) -> Option<&str> {
        self.group.iter().find(|(of, _)| *of == dimension).map(|(_, name)| name.as_str())
    }
}

impl Serialize for UsageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.group.len() + 12))?;
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
        map.serialize_entry("cache_hit_rate", &self.sums.cache_hit_rate())?;
        map.end()
    }
}

/// The part of a cell's key that a question asks for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Asked<'a> {
    time: i64,
    principal: Option<PrincipalId>,
    model: Option<u32>,
    upstream: Option<NameId>,
    class: Class,
    session: &'a str,
}

/// What names the numbers in cells.
pub(super) struct Naming<'a> {
    pub names: &'a Names,
    pub models: &'a Models,
}

/// Sums the slots that a query asks for.
pub(super) fn usage(slots: &Slots, slot_seconds: i64, query: &UsageQuery, naming: &Naming<'_>) -> Vec<UsageRow> {
    // First by numbers, then by names: there are many cells, and few numbers.
    let mut dimensions = query.group_by.clone();
    dimensions.extend(query.only.iter().map(|(dimension, _)| *dimension));
    let mut numbered: HashMap<Asked<'_>, Sums> = HashMap::new();
    let first = query.since.map_or(i64::MIN, |s| s.div_euclid(slot_seconds));
    for (slot, cells) in slots.range(first..) {
        if query.until.is_some_and(|until| slot * slot_seconds >= until) {
            break;
        }
        for (key, sums) in cells.iter() {
            numbered.entry(Asked::of(slot * slot_seconds, key, &dimensions)).or_default().add(sums);
        }
    }
    let mut named: HashMap<Vec<String>, Sums> = HashMap::new();
    for (asked, sums) in &numbered {
        let wanted = |(dimension, names): &(Dimension, Vec<String>)| names.contains(&naming.name(*dimension, asked));
        if query.only.iter().all(wanted) {
            let group = query.group_by.iter().map(|d| naming.name(*d, asked)).collect();
            named.entry(group).or_default().add(sums);
        }
    }
    if query.group_by.is_empty() && named.is_empty() {
        named.insert(Vec::new(), Sums::default());
    }
    let mut rows: Vec<(Vec<String>, Sums)> = named.into_iter().collect();
    if query.group_by.iter().any(|d| matches!(d, Dimension::Day | Dimension::Hour | Dimension::Minute)) {
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

impl Naming<'_> {
    fn name(&self, dimension: Dimension, asked: &Asked<'_>) -> String {
        let principal = |field: fn(&Principal) -> &String| {
            asked.principal.map_or_else(String::new, |id| field(&self.names.principal_of(id)).clone())
        };
        match dimension {
            Dimension::Org => ORG.into(),
            Dimension::Team => principal(|p| &p.team),
            Dimension::Project => principal(|p| &p.project),
            Dimension::User => principal(|p| &p.user),
            Dimension::Key => principal(|p| &p.key),
            Dimension::Session => asked.session.into(),
            Dimension::Model => asked.model.map_or_else(String::new, |place| self.models.name(place)),
            Dimension::Upstream => asked.upstream.map_or_else(String::new, |id| self.names.name_of(id).as_ref().into()),
            Dimension::ServiceTier => asked.class.tier().into(),
            Dimension::ContextWindow => asked.class.context().into(),
            Dimension::InferenceGeo => asked.class.geo().into(),
            Dimension::Speed => asked.class.speed().into(),
            Dimension::Day => time_text(asked.time, "%Y-%m-%d"),
            Dimension::Hour => time_text(asked.time, "%Y-%m-%dT%H:00:00Z"),
            Dimension::Minute => time_text(asked.time, "%Y-%m-%dT%H:%M:00Z"),
        }
    }
}

impl<'a> Asked<'a> {
    fn of(at: i64, key: &'a CellKey, dimensions: &[Dimension]) -> Self {
        let mut asked = Self::default();
        let floor = |seconds: i64| at.div_euclid(seconds) * seconds;
        for dimension in dimensions {
            match dimension {
                Dimension::Org => {}
                Dimension::Team | Dimension::Project | Dimension::User | Dimension::Key => {
                    asked.principal = key.principal
                }
                Dimension::Session => asked.session = &key.session,
                Dimension::Model => asked.model = Some(key.model),
                Dimension::Upstream => asked.upstream = key.upstream,
                Dimension::ServiceTier | Dimension::ContextWindow | Dimension::InferenceGeo | Dimension::Speed => {
                    asked.class = key.class
                }
                Dimension::Day => asked.time = asked.time.max(floor(DAY_SECONDS)),
                Dimension::Hour => asked.time = asked.time.max(floor(HOUR_SECONDS)),
                Dimension::Minute => asked.time = at,
            }
        }
        asked
    }
}

fn time_text(at: i64, format: &str) -> String {
    jiff::Timestamp::from_second(at)
        .map_or_else(|_| at.to_string(), |t| t.to_zoned(jiff::tz::TimeZone::UTC).strftime(format).to_string())
}
