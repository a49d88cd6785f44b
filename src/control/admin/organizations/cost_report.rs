//! `GET /v1/organizations/cost_report`.
//!
//! Source: platform.claude.com/docs/en/api/admin/cost_report/retrieve. Amounts are what was booked, in cents, exact: all items of a
//! bucket together are its cost to the nano-dollar. Only the total of a request is booked, so the division of a cost into token
//! types (`group_by[]=description`) follows the prices in force now, in the proportions of tokens times price.

use super::{
    super::{AdminState, answer::now},
    buckets::{Report, Span, WIDTHS},
    cursor::Cursor,
    error::ApiError,
    money::cents,
    params::Params,
};
use crate::{
    control::ledger::{Dimension, Sums, UsageRow},
    kernel::{
        money::Nanos,
        pricing::{PriceBook, Rates},
        usage::Usage,
    },
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Tokens that prices are compared for: few enough for the plain row of tiered models, enough to be exact.
const SAMPLE_TOKENS: u64 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Workspace,
    Description,
}

/// One item of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Item {
    amount: String,
    context_window: Option<String>,
    cost_type: Option<&'static str>,
    currency: &'static str,
    description: Option<String>,
    inference_geo: Option<String>,
    model: Option<String>,
    service_tier: Option<String>,
    token_type: Option<&'static str>,
    workspace_id: Option<String>,
}

/// What one amount is for. `None` is a cost that no price explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Tokens(&'static str, &'static str),
    WebSearch,
    Other,
}

/// A part, how much of it there is, and so much of it to be priced.
type Counted = (Part, fn(&Sums) -> u64, fn(u64) -> Usage);

const PARTS: [Counted; 6] = [
    (Part::Tokens("uncached_input_tokens", "Input Tokens"), |sums| sums.input_tokens, |n| Usage { input: n, ..NONE }),
    (Part::Tokens("output_tokens", "Output Tokens"), |sums| sums.output_tokens, |n| Usage { output: n, ..NONE }),
    (
        Part::Tokens("cache_read_input_tokens", "Input Tokens, Cache Read"),
        |sums| sums.cache_read_tokens,
        |n| Usage { cache_read: n, ..NONE },
    ),
    (
        Part::Tokens("cache_creation.ephemeral_5m_input_tokens", "Input Tokens, Cache Write 5m"),
        |sums| sums.cache_write_5m_tokens,
        |n| Usage { cache_write_5m: n, ..NONE },
    ),
    (
        Part::Tokens("cache_creation.ephemeral_1h_input_tokens", "Input Tokens, Cache Write 1h"),
        |sums| sums.cache_write_1h_tokens,
        |n| Usage { cache_write_1h: n, ..NONE },
    ),
    (Part::WebSearch, |sums| sums.web_searches, |n| Usage { web_search: n, ..NONE }),
];
const NONE: Usage = Usage {
    input: 0,
    output: 0,
    cache_read: 0,
    cache_write_5m: 0,
    cache_write_1h: 0,
    web_search: 0,
    fast: false,
    batch: false,
    geo_us: false,
};

/// Divides what was booked by what its parts would cost, to the nano-dollar.
fn divided(sums: &Sums, rates: &Rates) -> Vec<(Part, Nanos)> {
    let weight = |count: u64, sample: fn(u64) -> Usage| {
        u128::from(count) * u128::from(rates.cost(&sample(SAMPLE_TOKENS)).0.unsigned_abs())
    };
    let weights: Vec<(Part, u128)> =
        PARTS.iter().map(|(part, count, sample)| (*part, weight(count(sums), *sample))).collect();
    let total: u128 = weights.iter().map(|(_, weight)| *weight).sum();
    let booked = u128::from(sums.cost.0.unsigned_abs());
    if total == 0 {
        return vec![(Part::Other, sums.cost)];
    }
    let share = |weight: u128| Nanos(i64::try_from(booked * weight / total).unwrap_or(i64::MAX));
    let mut parts: Vec<(Part, Nanos)> =
        weights.iter().filter(|(_, weight)| *weight > 0).map(|(part, weight)| (*part, share(*weight))).collect();
    let rest = sums.cost - parts.iter().map(|(_, amount)| *amount).sum::<Nanos>();
    // What rounding left belongs to the largest part.
    if let Some((_, largest)) = parts.iter_mut().max_by_key(|(_, amount)| *amount) {
        *largest += rest;
    }
    parts
}

/// Everything an item is told apart by: workspace, model, tier, context, region, part.
type Key = (String, String, String, String, String, Part);

fn described(rows: &[UsageRow], prices: &PriceBook) -> Vec<Item> {
    let mut items: BTreeMap<Key, Nanos> = BTreeMap::new();
    for row in rows {
        let name = |dimension| row.name(dimension).unwrap_or_default().to_owned();
        let (upstream, model) = (name(Dimension::Upstream), name(Dimension::Model));
        for (part, amount) in divided(&row.sums, &prices.rates(&upstream, &model, &model)) {
            let key = match part {
                // The API names no model for searches.
                Part::WebSearch => {
                    (name(Dimension::Team), String::new(), String::new(), String::new(), String::new(), part)
                }
                _ => (
                    name(Dimension::Team),
                    model.clone(),
                    name(Dimension::ServiceTier),
                    name(Dimension::ContextWindow),
                    name(Dimension::InferenceGeo),
                    part,
                ),
            };
            *items.entry(key).or_default() += amount;
        }
    }
    items.into_iter().filter(|(_, amount)| *amount != Nanos::ZERO).map(|(key, amount)| item_of(key, amount)).collect()
}

fn item_of((workspace, model, tier, context, geo, part): Key, amount: Nanos) -> Item {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let (cost_type, token_type, description) = match part {
        Part::Tokens(kind, words) => ("tokens", Some(kind), format!("{model} Usage - {words}")),
        Part::WebSearch => ("web_search", None, "Web Search Usage".to_owned()),
        Part::Other => ("tokens", None, format!("{model} Usage")),
    };
    Item {
        amount: cents(amount),
        context_window: some(context),
        cost_type: Some(cost_type),
        currency: "USD",
        description: Some(description),
        inference_geo: some(geo),
        model: some(model),
        service_tier: some(tier),
        token_type,
        workspace_id: some(workspace),
    }
}

fn plain(row: &UsageRow) -> Item {
    Item {
        amount: cents(row.sums.cost),
        context_window: None,
        cost_type: None,
        currency: "USD",
        description: None,
        inference_geo: None,
        model: None,
        service_tier: None,
        token_type: None,
        workspace_id: row.name(Dimension::Team).filter(|name| !name.is_empty()).map(str::to_owned),
    }
}

pub(super) async fn cost_report(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Report<Item>>, ApiError> {
    let mut params = Params::new(pairs);
    let span = Span::read(&mut params, &WIDTHS[..1])?;
    let by = params.choices("group_by", &[("workspace_id", By::Workspace), ("description", By::Description)])?;
    params.finish()?;
    let mut dimensions = Vec::new();
    if by.contains(&By::Workspace) {
        dimensions.push(Dimension::Team);
    }
    if by.contains(&By::Description) {
        use Dimension::{ContextWindow, InferenceGeo, Model, ServiceTier, Upstream};
        dimensions.extend([Model, Upstream, ServiceTier, ContextWindow, InferenceGeo]);
    }
    let cursor = Cursor::of(&(span.question(), &by));
    let page = span.page(&cursor, now().seconds())?;
    let ledger = state.ledger.read().image();
    let found = page.usage(&ledger, &dimensions, Vec::new())?;
    let prices = state.door.latest();
    let items = |start: i64| match found.get(&start) {
        None => Vec::new(),
        Some(rows) if by.contains(&By::Description) => described(rows, &prices.prices),
        Some(rows) => rows.iter().map(plain).collect(),
    };
    Ok(Json(page.report(&cursor, items)))
}
