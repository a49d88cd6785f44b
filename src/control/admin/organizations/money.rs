//! Money in the unit of the Admin API: cents, as decimal strings.

use crate::kernel::money::Nanos;

/// Nano-dollars in a cent.
const CENT: u64 = 10_000_000;

/// Cents, exact: `123.78912` are 1.2378912 dollars.
pub(super) fn cents(amount: Nanos) -> String {
    text(amount, 7)
}

/// Cents with at most three decimals, as `period_to_date_spend` has them; half a thousandth is rounded up.
pub(super) fn spend_cents(amount: Nanos) -> String {
    text(Nanos(amount.0.saturating_add(5000) / 10_000 * 10_000), 3)
}

fn text(amount: Nanos, decimals: usize) -> String {
    let sign = if amount.0 < 0 { "-" } else { "" };
    let (whole, rest) = (amount.0.unsigned_abs() / CENT, amount.0.unsigned_abs() % CENT);
    let fraction = format!("{rest:07}");
    let fraction = fraction[..decimals].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}
