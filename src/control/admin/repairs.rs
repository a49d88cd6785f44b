//! What upstreams refuse by name, and what is done about it.

use super::AdminState;
use crate::{
    kernel::repairs::{RepairMode, Row},
    sys::clock,
};
use axum::{Json, extract::State};
use serde::Serialize;

/// One thing that an upstream refuses for a model.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RepairView {
    /// The upstream.
    pub upstream: String,
    /// Its name for the model.
    pub model: String,
    /// `beta` or `field`.
    pub kind: &'static str,
    /// The beta's or the field's name.
    pub name: String,
    /// How often it was refused.
    pub refused: u64,
    /// How many requests were said without it.
    pub left_out: u64,
    /// When it is forgotten, RFC 3339, unless it is refused until then.
    pub until: String,
}

#[derive(Serialize)]
pub(super) struct Repairs {
    mode: &'static str,
    data: Vec<RepairView>,
}

impl RepairView {
    fn of(row: Row) -> Self {
        Self {
            kind: row.named.kind(),
            name: row.named.name().to_owned(),
            upstream: row.upstream,
            model: row.model,
            refused: row.refused,
            left_out: row.left_out,
            until: row.until.rfc3339(),
        }
    }
}

pub(super) async fn repairs(State(state): State<AdminState>) -> Json<Repairs> {
    let snapshot = state.door.latest();
    let mode = match snapshot.repair {
        RepairMode::Off => "off",
        RepairMode::Observe => "observe",
        RepairMode::Repair => "repair",
    };
    let rows = snapshot.registry.repairs.rows(clock::unix());
    Json(Repairs { mode, data: rows.into_iter().map(RepairView::of).collect() })
}
