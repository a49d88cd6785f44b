//! From what the meter read to what is booked: usage, who says so, and the cost.

use super::{download::Download, upload::Uploaded};
use crate::{
    data::{
        edge::incoming::Exchange,
        gate::admit::{BYTES_PER_TOKEN, prompt_estimate},
        settle::Metered,
    },
    kernel::{
        pricing::{PriceBook, Rates},
        usage::{Usage, UsageSource},
    },
};

/// The prices that hold for an exchange.
pub(super) struct Prices<'a> {
    /// The table.
    pub book: &'a PriceBook,
    /// The upstream that answers.
    pub upstream: &'a str,
    /// The rates of the model that was asked for.
    pub own: Rates,
}

/// What was used, by the best knowledge there is (contract.md §4.2). `whole`: the provider said all it had to say.
pub(super) fn metered(
    cx: &Exchange<'_>,
    down: &Download<'_>,
    uploaded: Uploaded,
    whole: bool,
    prices: &Prices<'_>,
) -> Metered {
    if !down.meter.counts() || down.status >= 300 {
        return Metered::default();
    }
    let tally = down.meter.tally();
    let booked = |message: Usage, source| {
        let billed = tally.bill(&message, &prices.own, |model| prices.book.rates(prices.upstream, model, model));
        Metered { usage: billed.usage, source, cost: Some(billed.cost) }
    };
    // A client may leave as soon as it has read the stream's last event; the counts are the final ones all the same.
    if tally.finished() && (whole || down.meter.said_its_last()) {
        return booked(tally.usage(), UsageSource::Reported);
    }
    if whole && !tally.started() && down.meter.output_bytes() == 0 && down.client_bytes == 0 {
        return Metered::default();
    }
    if !tally.started() && !whole && uploaded != Uploaded::Whole {
        // The provider never had the whole prompt: there was nothing to bill.
        return Metered::default();
    }
    let told = if tally.started() { tally.usage() } else { prompt_estimate(cx) };
    let output = told.output.max(down.meter.output_bytes() / BYTES_PER_TOKEN);
    booked(Usage { output, ..told }, UsageSource::Estimated)
}
