//! Numbers in heads.

/// Appends a number in decimal digits. Every head has a few; the formatting of any value costs ten times as much.
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_length_is_written_otherwise_than_everybody_reads_it() {
        for number in [0, 1, 9, 10, 65_536, 1_000_000, u64::MAX] {
            let mut out = b"x".to_vec();
            decimal(&mut out, number);
            assert_eq!(out, format!("x{number}").into_bytes());
        }
    }
}
