//! Whom a verified client certificate stands for. The TLS library has verified it; here only its names are read.

use super::{Caller, is_name};
use crate::kernel::policy::{AllowList, Pattern};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Which name of a certificate says who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The URI in its alternative names, such as a SPIFFE id.
    SanUri,
    /// The DNS name in its alternative names.
    SanDns,
    /// The mail address in its alternative names.
    SanEmail,
    /// The common name of its subject.
    CommonName,
}

impl CertificateName {
    /// As an answer says it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::SanUri => "URI among its alternative names",
            Self::SanDns => "DNS name among its alternative names",
            Self::SanEmail => "mail address among its alternative names",
            Self::CommonName => "common name",
        }
    }
}

/// The names a certificate carries, the first of each kind that can be a name in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    uri: Option<Box<str>>,
    dns: Option<Box<str>>,
    email: Option<Box<str>>,
    common_name: Option<Box<str>>,
}

impl CertificateNames {
    /// Reads a certificate in DER. What cannot be read has no names.
    pub fn of(der: &[u8]) -> Self {
        let mut names = Self::default();
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return names };
        let keep = |place: &mut Option<Box<str>>, text: &str| {
            if place.is_none() && is_name(text) {
                *place = Some(text.into());
            }
        };
        if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
            for name in &alternative.value.general_names {
                match name {
                    GeneralName::URI(text) => keep(&mut names.uri, text),
                    GeneralName::DNSName(text) => keep(&mut names.dns, text),
                    GeneralName::RFC822Name(text) => keep(&mut names.email, text),
                    _ => {}
                }
            }
        }
        // A subject may be written with several common names; which of them counts is the CA's first word.
        for text in certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()) {
            keep(&mut names.common_name, text);
        }
        names
    }

    fn get(&self, kind: CertificateName) -> Option<&str> {
        match kind {
            CertificateName::SanUri => self.uri.as_deref(),
            CertificateName::SanDns => self.dns.as_deref(),
            CertificateName::SanEmail => self.email.as_deref(),
            CertificateName::CommonName => self.common_name.as_deref(),
        }
    }
}

/// Team and project of the callers whose name fits a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// Which names.
    pub pattern: Pattern,
    /// Their team; empty for none.
    pub team: String,
    /// Their project; empty for none.
    pub project: String,
}

/// How a certificate becomes a caller (`[mtls]`).
#[derive(Clone, Debug)]
pub struct CertificateRule {
    /// Which name says who calls.
    pub identity: CertificateName,
    /// The first that fits says team and project; without one there are none.
    pub rules: Box<[NameRule]>,
    /// The models such callers may use.
    pub models: AllowList,
}

impl CertificateRule {
    /// Whom a certificate with these names stands for; `None` if it lacks the name that counts.
    pub fn caller(&self, names: &CertificateNames) -> Option<Caller> {
        let user = names.get(self.identity)?;
        let rule = self.rules.iter().find(|rule| rule.pattern.matches(user));
        let of = |field: fn(&NameRule) -> &String| rule.map(field).cloned().unwrap_or_default();
        Some(Caller { key: String::new(), user: user.to_owned(), team: of(|r| &r.team), project: of(|r| &r.project) })
    }
}
