//! Which of AWS's refusals are about the credential, the account or the model rather than the request (contract.md §2.5: AWS says
//! 403 where others say 401, and 400, 408 and 424 where others say 429, 504 and 500).

use crate::kernel::routing::Failure;

/// What a refusal says of our signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The keys or the token are not, or no longer, good.
    Credential,
    /// The signature is not right: the clock or the keys.
    Signature,
}

/// Reads `x-amzn-errortype`. `None`: it is not about the credential.
pub fn refusal(error_type: &[u8]) -> Option<Refusal> {
    match name(error_type) {
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

/// Reads `x-amzn-errortype` of an answer whose status alone would say that the request is at fault. `None`: it is.
pub fn failure(error_type: &[u8]) -> Option<Failure> {
    match name(error_type) {
        b"ServiceQuotaExceededException" => Some(Failure::NoRoom),
        b"ModelTimeoutException" | b"ModelErrorException" | b"ModelStreamErrorException" => Some(Failure::Error),
        _ => None,
    }
}

/// The name alone: it has `:` and an address behind it at times.
fn name(error_type: &[u8]) -> &[u8] {
    error_type.split(|b| *b == b':').next().unwrap_or_default().trim_ascii()
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
    fn an_account_without_room_is_taken_for_a_bad_request() {
        for (name, meant) in [
            ("ServiceQuotaExceededException:http://internal.amazon.com/", Some(Failure::NoRoom)),
            ("ModelTimeoutException", Some(Failure::Error)),
            ("ModelErrorException", Some(Failure::Error)),
            ("ModelStreamErrorException", Some(Failure::Error)),
            ("ValidationException", None),
            ("", None),
        ] {
            assert_eq!(failure(name.as_bytes()), meant, "{name}");
        }
    }

    #[test]
    fn a_date_is_misread() {
        assert_eq!(skew_seconds(b"Sat, 21 Nov 2026 13:06:01 GMT", 1_795_266_061), Some(300));
        assert_eq!(skew_seconds(b"yesterday", 0), None);
    }
}
