//! `GET /v1/organizations/usage_report/messages`.
//!
//! Source: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages. A bucket that nothing happened in has no results.
//! What weir does not tell apart reads as the plain value: the priority and flex tiers as `standard`, a region that was not said
//! to be the US as `global`.

use super::{
    super::{AdminState, answer::now},
    buckets::{Report, Span, WIDTHS},
    cursor::Cursor,
    error::ApiError,
    params::Params,
};
use crate::control::ledger::{Dimension, UsageRow};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;

/// What can be grouped by. `None` is what weir has none of.
const GROUPS: [(&str, Option<Dimension>); 9] = [
    ("api_key_id", Some(Dimension::Key)),
    ("workspace_id", Some(Dimension::Team)),
    ("model", Some(Dimension::Model)),
    ("service_tier", Some(Dimension::ServiceTier)),
    ("context_window", Some(Dimension::ContextWindow)),
    ("inference_geo", Some(Dimension::InferenceGeo)),
    ("speed", Some(Dimension::Speed)),
    ("account_id", Some(Dimension::User)),
    ("service_account_id", None),
];
/// What can be filtered by.
const FILTERS: [(&str, Dimension); 8] = [
    ("api_key_ids", Dimension::Key),
    ("workspace_ids", Dimension::Team),
    ("models", Dimension::Model),
    ("service_tiers", Dimension::ServiceTier),
    ("context_window", Dimension::ContextWindow),
    ("inference_geos", Dimension::InferenceGeo),
    ("speeds", Dimension::Speed),
    ("account_ids", Dimension::User),
];

#[derive(Serialize)]
struct CacheCreation {
    ephemeral_1h_input_tokens: u64,
    ephemeral_5m_input_tokens: u64,
}

#[derive(Serialize)]
struct ServerToolUse {
    web_search_requests: u64,
}

/// One item of a bucket; null is what was not grouped by, or has no name.
#[derive(Serialize)]
pub(super) struct Item {
    account_id: Option<String>,
    api_key_id: Option<String>,
    cache_creation: CacheCreation,
    cache_read_input_tokens: u64,
    context_window: Option<String>,
    inference_geo: Option<String>,
    model: Option<String>,
    output_tokens: u64,
    server_tool_use: ServerToolUse,
    service_account_id: Option<String>,
    service_tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<String>,
    uncached_input_tokens: u64,
    workspace_id: Option<String>,
}

impl Item {
    fn of(row: &UsageRow) -> Self {
        let name = |dimension| row.name(dimension).filter(|name| !name.is_empty()).map(str::to_owned);
        Self {
            account_id: name(Dimension::User),
            api_key_id: name(Dimension::Key),
            cache_creation: CacheCreation {
                ephemeral_1h_input_tokens: row.sums.cache_write_1h_tokens,
                ephemeral_5m_input_tokens: row.sums.cache_write_5m_tokens,
            },
            cache_read_input_tokens: row.sums.cache_read_tokens,
            context_window: name(Dimension::ContextWindow),
            inference_geo: name(Dimension::InferenceGeo),
            model: name(Dimension::Model),
            output_tokens: row.sums.output_tokens,
            server_tool_use: ServerToolUse { web_search_requests: row.sums.web_searches },
            service_account_id: None,
            service_tier: name(Dimension::ServiceTier),
            speed: name(Dimension::Speed),
            uncached_input_tokens: row.sums.input_tokens,
            workspace_id: name(Dimension::Team),
        }
    }
}

pub(super) async fn messages(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Report<Item>>, ApiError> {
    let mut params = Params::new(pairs);
    let span = Span::read(&mut params, &WIDTHS)?;
    let by: Vec<Dimension> = params.choices("group_by", &GROUPS)?.into_iter().flatten().collect();
    let mut only: Vec<(Dimension, Vec<String>)> = Vec::new();
    for (name, dimension) in FILTERS {
        let values = params.list(name);
        if !values.is_empty() {
            only.push((dimension, values));
        }
    }
    // Nobody is a service account, so a question about some finds nothing.
    let nobody = !params.list("service_account_ids").is_empty();
    if nobody {
        only.push((Dimension::Key, Vec::new()));
    }
    params.finish()?;
    let cursor = Cursor::of(&(span.question(), &by, &only));
    let page = span.page(&cursor, now().seconds())?;
    let ledger = state.ledger.read().image();
    let mut found = page.usage(&ledger, &by, only)?;
    let items = |start: i64| found.remove(&start).unwrap_or_default().iter().map(Item::of).collect();
    Ok(Json(page.report(&cursor, items)))
}
