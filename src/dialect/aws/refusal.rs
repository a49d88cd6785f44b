//! Which of AWS's refusals are about the credential rather than the request (contract.md §2.5: AWS says 403, not 401).

/// What a refusal says of our signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The keys or the token are not, or no longer, good.
    Credential,
    /// The signature is not right: the clock or the keys.
    Signature,
}

/// Reads `x-amzn-errortype`, `Name` with `:` and an address behind it at times. `None`: it is about the request.
pub fn refusal(error_type: &[u8]) -> Option<Refusal> {
    let name = error_type.split(|b| *b == b':').next().unwrap_or_default().trim_ascii();
    match name {
        b"ExpiredTokenException"
        | b"ExpiredToken"
        | b"UnrecognizedClientException"
        | b"InvalidClientTokenId"
        | b"InvalidClientTokenIdException"
        | b"IncompleteSignatureException"
        | b"MissingAuthenticationTokenException" => Some(Refusal::Credential),
        b"InvalidSignatureException" | b"SignatureDoesNotMatch" | b"RequestTimeTooSkewed" | b"RequestExpired" => {
            Some(Refusal::Signature)
        }
        _ => None,
    }
}

/// By how many seconds the clock that wrote a `Date` header is ahead of ours.
pub fn skew_seconds(date: &[u8], now_seconds: i64) -> Option<i64> {
    let text = std::str::from_utf8(date).ok()?;
    let theirs = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
    Some(theirs - now_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_taken_for_a_bad_credential() {
        for (name, meant) in [
            ("ExpiredTokenException", Some(Refusal::Credential)),
            ("UnrecognizedClientException:http://internal.amazon.com/", Some(Refusal::Credential)),
            ("InvalidSignatureException", Some(Refusal::Signature)),
            ("AccessDeniedException", None),
            ("ValidationException", None),
            ("", None),
        ] {
            assert_eq!(refusal(name.as_bytes()), meant, "{name}");
        }
    }

    #[test]
    fn a_date_is_misread() {
        assert_eq!(skew_seconds(b"Sat, 21 Nov 2026 13:06:01 GMT", 1_795_266_061), Some(300));
        assert_eq!(skew_seconds(b"yesterday", 0), None);
    }
}
