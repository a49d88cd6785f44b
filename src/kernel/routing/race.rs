//! A target's time in a race: exponentially distributed, divided by its weight, so that the chance to be first is the share of
//! the weight (weighted rendezvous hashing). Every bit of it is the same on every machine, and there is no branch in it and
//! no logarithm: one wide multiplication, and a table.

use super::hash;
use crate::kernel::models::Weight;

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

/// What the target with this salt draws for a key; both numbers are well mixed already.
#[inline]
fn draw(key: u64, salt: u64) -> u64 {
    hash::fold(key ^ salt, salt | 1)
}

/// The time of the target with this salt and weight in the race for a key.
#[inline]
pub(super) fn time(key: u64, salt: u64, weight: Weight) -> f32 {
    let drawn = draw(key, salt);
    let cell = (drawn >> (64 - CELL_BITS)) as usize & (CELLS - 1);
    let fraction = (drawn >> (64 - CELL_BITS - FRACTION_BITS)) as u32 & ((1 << FRACTION_BITS) - 1);
    let (from, to) = (TIMES[cell], TIMES[cell + 1]);
    let exponential = from + (to - from) * (fraction as f32 * (1.0 / (1u32 << FRACTION_BITS) as f32));
    exponential / weight.share() as f32
}

/// A bound of the target's time, in units of 2^-63: -ln(1 - x) is never below x + x² / 2. Three multiplications of whole numbers;
/// and who is first by it nearly always is first, since races are won by short times, where both are nearly the same.
#[inline]
pub(super) fn not_before(key: u64, salt: u64, weight: Weight) -> u64 {
    // 31 bits of it, so that the sum has 32.
    let x = draw(key, salt) >> 33;
    (x + ((x * x) >> 32)) * u64::from(weight.inverse())
}

/// Such a bound as a time that no `time` it was made for is before. What `time` is off by when it is rounded is far less than
/// what this leaves.
pub(super) fn bound(not_before: u64) -> f32 {
    const UNIT: f32 = 1.0 / (1u64 << 63) as f32;
    not_before as f32 * (UNIT * (1.0 - 1e-6))
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
            let sum: f64 = (0..count).map(|key| f64::from(time(mix(key, 1), mix(7, 11), Weight::new(weight)))).sum();
            let mean = sum / count as f64 * f64::from(weight);
            assert!((mean - 1.0).abs() < 0.02, "{mean} with a weight of {weight}");
        }
    }

    #[test]
    fn a_time_is_before_its_bound_or_far_behind_it() {
        for weight in [1, 2, 3, 7, 1000, u32::MAX] {
            for key in 0..100_000 {
                let (key, salt, weight) = (mix(key, 5), mix(key % 7, 13), Weight::new(weight));
                let (time, bound) = (time(key, salt, weight), bound(not_before(key, salt, weight)));
                assert!(bound <= time, "{time} is before {bound} with {weight:?}");
                let x = bound * weight.share() as f32;
                assert!(x > 0.1 || time <= bound * 1.004 + 1e-9, "{time} is far behind {bound} with {weight:?}");
            }
        }
    }
}
