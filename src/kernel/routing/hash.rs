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
    let mut hash = mix(seed, text.len() as u64);
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash
}

/// Both halves of the product of two numbers that are well mixed already, in one.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}
