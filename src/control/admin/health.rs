//! Alive, ready, metrics: open to everybody who reaches the listener.

use super::{
    AdminState,
    answer::{Refusal, now},
};
use crate::{kernel::ids::ShardId, link::down::Phase, observe::metrics::CONTENT_TYPE};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "alive": true }))
}

pub(super) async fn readyz(State(state): State<AdminState>) -> Result<Json<Value>, Refusal> {
    let not_ready = |kind, message: String| Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, kind, message));
    if state.door.phase() != Phase::Serving {
        return not_ready("draining", "draining: no new connections, running requests are being finished".into());
    }
    let newest = state.door.latest().version;
    if !state.door.settled() {
        let shards = state.shards.len();
        let serving = (0..shards).filter(|n| state.door.applied_by(ShardId(*n as u16)) >= newest).count();
        let message = format!("{serving} of {shards} shards serve configuration version {}", newest.0);
        return not_ready("not_settled", message);
    }
    if !state.journal.is_accepting() {
        let lag = state.journal.lag_seconds();
        let message =
            format!("the journal cannot be written, for {lag:.1} s now; see the log and the disk of store.path");
        return not_ready("journal_unavailable", message);
    }
    let mut ready = json!({ "ready": true, "version": newest.0 });
    // A destination that is away delays reports; it is no reason to send nobody here.
    if let Some(export) = state.export.state() {
        ready["export"] = json!({
            "ok": export.error.is_none(),
            "lag_seconds": export.lag_seconds(now()),
            "records": export.records,
            "error": export.error,
        });
    }
    Ok(Json(ready))
}

pub(super) async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.text())
}
