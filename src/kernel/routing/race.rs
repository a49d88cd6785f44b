//! A target's time in a race: exponentially distributed, divided by its weight, so that the chance to be first is the share of
//! the weight (weighted rendezvous hashing). Every bit of it is the same on every machine, and there is no branch in it and
//! no logarithm: one wide multiplication, and a table.

use super::hash;

/// Cells of the table; a power of two.
const CELLS: usize = 1024;
const CELL_BITS: u32 = CELLS.trailing_zeros();
/// Bits of a hash behind its cell that count.
const FRACTION_BITS: u32 = 24;
/// The end of the last cell, whose logarithm has no end.
const LAST: f32 = 8.0;

/// -ln(1 - x) at x = cell / CELLS. A straight line between two of them is off by less than a thousandth, and where times are
/// short, which is where races are won, by far less.
static TIMES: [f32; CELLS + 1] = times();

const fn times() -> [f32; CELLS + 1] {
    let mut times = [LAST; CELLS + 1];
    let mut cell = 0;
    while cell < CELLS {
        times[cell] = -ln(1.0 - cell as f64 / CELLS as f64) as f32;
        cell += 1;
    }
    times
}

/// The logarithm of a number above 0 and not above 1: halvings, and a series for what is left.
const fn ln(mut y: f64) -> f64 {
    let mut halvings = 0.0;
    while y < 0.5 {
        y *= 2.0;
        halvings += 1.0;
    }
    let z = (y - 1.0) / (y + 1.0);
    let (mut power, mut sum, mut term) = (z, 0.0, 1.0);
    while term < 60.0 {
        sum += power / term;
        power *= z * z;
        term += 2.0;
    }
    2.0 * sum - halvings * std::f64::consts::LN_2
}

/// The time of the target with this salt and weight in the race for a key; both numbers are well mixed already.
#[inline]
pub(super) fn time(key: u64, salt: u64, weight: u32) -> f32 {
    let drawn = hash::fold(key ^ salt, salt | 1);
    let cell = (drawn >> (64 - CELL_BITS)) as usize & (CELLS - 1);
    let fraction = (drawn >> (64 - CELL_BITS - FRACTION_BITS)) as u32 & ((1 << FRACTION_BITS) - 1);
    let (from, to) = (TIMES[cell], TIMES[cell + 1]);
    let exponential = from + (to - from) * (fraction as f32 * (1.0 / (1u32 << FRACTION_BITS) as f32));
    exponential / weight.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::routing::hash::mix;

    #[test]
    fn times_are_not_those_of_the_logarithm() {
        for (cell, time) in TIMES.iter().enumerate().take(CELLS) {
            let exact = -(1.0 - cell as f64 / CELLS as f64).ln();
            assert!((f64::from(*time) - exact).abs() <= exact * 1e-6, "{cell}: {time}, not {exact}");
        }
        assert!(TIMES.is_sorted());
    }

    #[test]
    fn the_mean_time_is_not_one_over_the_weight() {
        for weight in [1, 3, 10] {
            let count = 200_000;
            let sum: f64 = (0..count).map(|key| f64::from(time(mix(key, 1), mix(7, 11), weight))).sum();
            let mean = sum / count as f64 * f64::from(weight);
            assert!((mean - 1.0).abs() < 0.02, "{mean} with a weight of {weight}");
        }
    }
}
