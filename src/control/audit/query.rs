//! Finding records in the segments.

use super::{
    AuditError, Progress, need_segments,
    scan::{Scan, first_segment_for},
};
use crate::{
    control::{
        journal::Walk,
        ledger::{RecordFilter, RecordView},
    },
    kernel::{names::Names, record::Record, time::UnixMs},
};
use std::{collections::VecDeque, ops::ControlFlow, path::Path, sync::Arc};

/// What a query came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Records that matched.
    pub matched: u64,
    /// Of these, shown.
    pub shown: u64,
}

/// Shows the records that a filter lets through, in the order in which they were closed. With `newest` only that many, the
/// newest; `show` may end the query. A filter's `limit` is not looked at.
pub fn query(
    store: &Path,
    filter: &RecordFilter,
    newest: Option<usize>,
    show: &mut dyn FnMut(RecordView) -> ControlFlow<()>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Found, AuditError> {
    need_segments(store)?;
    let names = Arc::new(Names::default());
    let mut walk = Walk::new(store, names.clone());
    if let Some(first) = since(filter).map(|since| first_segment_for(store, since)).transpose()?.flatten() {
        walk = walk.skip_to(first);
    }
    let mut found = Found { matched: 0, shown: 0 };
    let mut kept: VecDeque<Record> = VecDeque::new();
    let mut each = |record: &Record| {
        if !filter.takes(record, &names) {
            return ControlFlow::Continue(());
        }
        found.matched += 1;
        let flow = match newest {
            None => {
                found.shown += 1;
                show(RecordView::of(record, &names))
            }
            Some(newest) => {
                if kept.len() >= newest {
                    kept.pop_front();
                }
                kept.push_back(record.clone());
                ControlFlow::Continue(())
            }
        };
        // There is only one of it.
        if filter.request_id.is_some() { ControlFlow::Break(()) } else { flow }
    };
    walk.run(&mut Scan::new(&mut each, progress))?;
    for record in &kept {
        found.shown += 1;
        if show(RecordView::of(record, &names)).is_break() {
            break;
        }
    }
    Ok(found)
}

/// Nothing that was closed before this moment can match.
fn since(filter: &RecordFilter) -> Option<UnixMs> {
    let asked =
        filter.since.and_then(|seconds| u64::try_from(seconds).ok()).map(|seconds| seconds.saturating_mul(1000));
    // A request's id begins with the time it began (`RequestId::new`).
    let digits =
        filter.request_id.as_deref().and_then(|id| id.strip_prefix("req_")).filter(|digits| digits.len() == 32);
    let named = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).map(|id| (id >> 80) as u64);
    asked.max(named).map(UnixMs)
}
