//! Money as integers. Sums are nano-dollars; prices are pico-dollars a token, since a batch read of a small model costs
//! fractions of a nano-dollar (contract.md §7.3). Rounding happens once per record, never in a sum.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
};

/// An amount in nano-dollars (1e-9 US dollars). The range is ±9.2 billion dollars; sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

/// Nano-dollars in a dollar.
pub const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads a decimal string of dollars such as `12.50`. At most nine decimals; no sign, no exponent.
    pub fn parse_dollars(text: &str) -> Result<Self, MoneyError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(MoneyError::Empty);
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(MoneyError::NotADecimal);
        }
        if fraction.len() > 9 {
            return Err(MoneyError::TooFine);
        }
        let dollars: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| MoneyError::TooLarge)? };
        let mut nanos: i64 = 0;
        for place in 0..9 {
            nanos = nanos * 10 + i64::from(fraction.as_bytes().get(place).map_or(0, |b| b - b'0'));
        }
        dollars.checked_mul(NANOS_PER_DOLLAR).and_then(|d| d.checked_add(nanos)).map(Self).ok_or(MoneyError::TooLarge)
    }

    /// Saturating sum.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Saturating difference.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Nanos {
    /// Dollars with nine decimals, `1.234567890` (interface.md §4).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let abs = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:09}", abs / NANOS_PER_DOLLAR as u64, abs % NANOS_PER_DOLLAR as u64)
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.minus(other)
    }
}

impl SubAssign for Nanos {
    fn sub_assign(&mut self, other: Self) {
        *self = self.minus(other);
    }
}

impl Neg for Nanos {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::plus)
    }
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyError {
    /// No digits.
    Empty,
    /// Something other than digits and one point.
    NotADecimal,
    /// More than nine decimals.
    TooFine,
    /// More than 9.2 billion dollars.
    TooLarge,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty; write US dollars such as \"12.50\"",
            Self::NotADecimal => "is not a decimal number; write US dollars such as \"12.50\", without sign or symbol",
            Self::TooFine => "has more than nine decimals",
            Self::TooLarge => "is too large",
        })
    }
}

impl std::error::Error for MoneyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_string_is_read_to_the_nano_dollar() {
        assert_eq!(Nanos::parse_dollars("12.50"), Ok(Nanos(12_500_000_000)));
        assert_eq!(Nanos::parse_dollars(".000000001"), Ok(Nanos(1)));
        assert_eq!(Nanos::parse_dollars("0.1234567890"), Err(MoneyError::TooFine));
        assert_eq!(Nanos::parse_dollars("-1"), Err(MoneyError::NotADecimal));
        assert_eq!(Nanos::parse_dollars("1e3"), Err(MoneyError::NotADecimal));
        assert_eq!(Nanos::parse_dollars("99999999999"), Err(MoneyError::TooLarge));
        assert_eq!(Nanos::parse_dollars("."), Err(MoneyError::Empty));
    }

    #[test]
    fn money_prints_nine_decimals_with_its_sign() {
        assert_eq!(Nanos(1_234_567_890).to_string(), "1.234567890");
        assert_eq!(Nanos(-5).to_string(), "-0.000000005");
    }
}
