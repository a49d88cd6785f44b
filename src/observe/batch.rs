//! What the records of one flush add up to, by numbers; names and labels are only looked at once for each sum. A flush of a busy
//! gateway has thousands of records and a handful of sums.

use super::names::OTHER;
use crate::kernel::{
    ids::PrincipalId,
    money::Nanos,
    names::NameId,
    record::{AttemptResult, Format, ModelLabel, Operation, Outcome, Record},
};

/// Sums of a kind in one batch, at most: they are searched one by one.
const SUMS_MAX: usize = 64;

/// A request, as it is counted.
pub(super) type RequestSum = (Format, Operation, u16, Outcome);

/// Sums of records.
#[derive(Default)]
pub(super) struct Batch {
    pub requests: Vec<(RequestSum, u64)>,
    pub attempts: Vec<((NameId, AttemptResult), u64)>,
    pub refused: Vec<(&'static str, u64)>,
    pub tokens: Vec<(ModelLabel, [u64; 5])>,
    pub costs: Vec<(Option<PrincipalId>, Nanos)>,
}

impl Batch {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        // Three digits or nothing, whatever an upstream says.
        let status = if (100..1000).contains(&record.status) { record.status } else { 0 };
        *sum(&mut self.requests, (record.format, record.operation, status, record.outcome)) += 1;
        for attempt in &record.attempts {
            *sum(&mut self.attempts, (attempt.upstream, attempt.result)) += 1;
        }
        if record.outcome == Outcome::Refused {
            *sum(&mut self.refused, record.refused_by.unwrap_or(OTHER)) += 1;
        }
        // What a revocation ends is refused, and has used something all the same.
        let usage = &record.usage;
        let counts = [usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h];
        if counts.iter().any(|n| *n > 0) {
            let model = if record.model_served.is_empty() { &record.model_requested } else { &record.model_served };
            let sums = match self.tokens.iter().position(|(known, _)| known == model) {
                Some(place) => &mut self.tokens[place].1,
                None => sum(&mut self.tokens, *model),
            };
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        // What a batch is booked with until its results are read is no money spent yet; a counter could not take it back.
        let cost = match record.operation {
            Operation::BatchCreate => Nanos::ZERO,
            Operation::BatchResults => record.cost.plus(record.reserved),
            _ => record.cost,
        };
        if cost.0 > 0 {
            *sum(&mut self.costs, record.principal) += cost;
        }
    }

    /// Another record may find no room.
    pub fn is_full(&self) -> bool {
        let most = [
            self.requests.len(),
            self.attempts.len() + crate::kernel::limits::ATTEMPTS_MAX - 1,
            self.refused.len(),
            self.tokens.len(),
            self.costs.len(),
        ];
        most.iter().any(|sums| *sums >= SUMS_MAX)
    }
}

/// The sum of a key, new or old.
fn sum<K: PartialEq, V: Default>(sums: &mut Vec<(K, V)>, key: K) -> &mut V {
    let place = sums.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        sums.push((key, V::default()));
        sums.len() - 1
    });
    &mut sums[place].1
}
