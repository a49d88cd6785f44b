//! Why a token or a certificate is not accepted, in words for its owner. Nothing in them comes from the token.

use std::fmt;

/// Why not. What the words name (claims, algorithms, audiences) is the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than `TOKEN_BYTES_MAX`.
    TooLong,
    /// Not three parts of base64url, or what is in them is not JSON.
    Malformed,
    /// The header names an algorithm that is none of ours, or none at all.
    Unsigned,
    /// The header has `crit`: extensions that must be understood.
    Critical,
    /// No `iss`, or not a text.
    NoIssuer,
    /// No `[[jwt]]` for its issuer.
    UnknownIssuer,
    /// Not with this issuer.
    Algorithm(Box<str>),
    /// The issuer's keys could not be fetched so far.
    NoKeys,
    /// Signed with a key that the issuer's set does not have.
    UnknownKey {
        /// The set is old enough that it is worth asking again.
        stale: bool,
    },
    /// The signature is not the key's.
    Signature,
    /// No `exp`, or not a number.
    NoExpiry,
    /// `exp` is over.
    Expired {
        /// Since when. Seconds.
        ago: i64,
    },
    /// `nbf` or `iat` is still to come.
    NotYet {
        /// Which of them.
        claim: &'static str,
        /// How long. Seconds.
        after: i64,
    },
    /// `nbf` or `iat` is no number.
    BadTime(&'static str),
    /// `aud` is missing, or none of these.
    Audience(Box<str>),
    /// A claim that must be there is not.
    MissingClaim(Box<str>),
    /// A claim is no usable name.
    BadClaim(Box<str>),
    /// The groups are left out of the token, since they are too many (Entra's overage).
    GroupsElsewhere,
    /// In none of the groups that are allowed.
    Group,
}

impl Refusal {
    /// Can the same token be good in a moment, without anybody changing anything?
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoKeys | Self::UnknownKey { stale: true })
    }
}

/// What follows "the token in Authorization".
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("is too long"),
            Self::Malformed => f.write_str("is not a signed JWT: three parts of base64url, with JSON in the first two"),
            Self::Unsigned => f.write_str("names no signature algorithm that can be accepted; `none` never is"),
            Self::Critical => f.write_str("has a `crit` header with extensions that this gateway does not know"),
            Self::NoIssuer => f.write_str("has no issuer (`iss`)"),
            Self::UnknownIssuer => f.write_str("is from an issuer (`iss`) that this gateway does not accept"),
            Self::Algorithm(allowed) => {
                write!(f, "is not signed with an algorithm its issuer may use here ({allowed})")
            }
            Self::NoKeys => {
                f.write_str("cannot be checked yet: the keys of its issuer could not be fetched; try again")
            }
            Self::UnknownKey { stale: true } => f.write_str(
                "is signed with a key that is not known yet; the issuer's keys are being fetched; try again",
            ),
            Self::UnknownKey { stale: false } => {
                f.write_str("is signed with a key that its issuer does not publish; get a new token")
            }
            Self::Signature => f.write_str("has a signature that is not its issuer's"),
            Self::NoExpiry => f.write_str("has no expiry (`exp`)"),
            Self::Expired { ago } => write!(f, "has expired {ago} s ago; get a new token"),
            Self::NotYet { claim, after } => {
                write!(f, "is not valid yet (`{claim}` is {after} s from now); check the clocks")
            }
            Self::BadTime(claim) => write!(f, "has no readable `{claim}`"),
            Self::Audience(wanted) => write!(f, "is not meant for this gateway: its `aud` is not {wanted}"),
            Self::MissingClaim(claim) => write!(f, "does not say who calls: it has no claim {claim}"),
            Self::BadClaim(claim) => {
                write!(f, "has no usable name in claim {claim}: 1 to {} bytes of plain text", super::NAME_BYTES_MAX)
            }
            Self::GroupsElsewhere => f.write_str(
                "leaves its groups out, as they are too many; let the issuer send fewer groups or app roles",
            ),
            Self::Group => f.write_str("is of a caller in none of the groups that may use this gateway"),
        }
    }
}
