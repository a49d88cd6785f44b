//! How a secret is drawn.

use crate::kernel::secret::Secret;

/// What every secret begins with, so that scanners of repositories and logs can find one that leaked.
pub(super) const PREFIX: &str = "weir_";
const RANDOM_BYTES: usize = 32;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A new secret: the prefix and 43 characters for 32 random bytes; `None` if the system has no randomness.
pub(super) fn draw() -> Option<Secret<String>> {
    let mut bytes = [0; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(Secret::new(format!("{PREFIX}{}", base64url(&bytes))))
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|place| ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
        text.extend(digits.map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_less_than_its_32_random_bytes() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
        let [one, two] = [draw().unwrap(), draw().unwrap()];
        assert!(one != two);
        let rest = one.expose().strip_prefix(PREFIX).unwrap();
        assert!(rest.len() == 43 && rest.bytes().all(|b| ALPHABET.contains(&b)));
    }
}
