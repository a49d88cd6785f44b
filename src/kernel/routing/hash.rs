//! A small mixing hash. It is the same in every process and on every machine, since gateways that share nothing must send a
//! session to the same account. Not for tables that strangers could fill: nothing here is keyed.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const OTHER_ODD: u64 = 0xd6e8_feb8_6659_fd93;

/// Mixes two numbers into one: each bit of either moves about half of the result's.
#[inline]
pub fn mix(a: u64, b: u64) -> u64 {
    let folded = fold(a ^ ODD, b ^ OTHER_ODD);
    (folded ^ (folded >> 29)).wrapping_mul(OTHER_ODD) ^ (folded >> 32)
}

/// The hash of some bytes.
pub fn bytes(seed: u64, text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(mix(seed, text.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    if rest.is_empty() {
        return hash;
    }
    // Little-endian, too.
    mix(hash, rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
}

/// Both halves of the product of two numbers that are well mixed already, in one.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_another_hash_than_on_other_machines() {
        // Sessions stay where they are over an upgrade only as long as these numbers do.
        let hashes = ["", "a", "account-1", "an account's name"].map(|text| bytes(7, text.as_bytes()));
        assert_eq!(
            hashes,
            [0x7df8_2525_d3b8_615f, 0xec4c_7378_af7f_1938, 0x2736_9224_733d_d023, 0x44b3_a4dc_f039_5c17]
        );
    }

    #[test]
    fn a_text_is_hashed_otherwise_than_word_by_word() {
        let text: Vec<u8> = (1..60).collect();
        for length in 0..text.len() {
            let mut expected = mix(3, length as u64);
            for chunk in text[..length].chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                expected = mix(expected, u64::from_le_bytes(word));
            }
            assert_eq!(bytes(3, &text[..length]), expected, "{length} bytes");
        }
    }
}
