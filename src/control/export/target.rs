//! Where an export goes: a directory, or a prefix of a bucket.

use crate::kernel::secret::Secret;
use std::{fmt, path::PathBuf};

const KNOWN: &str = "write a directory, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";

/// A destination by its name.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A directory of this host; made if it is not there.
    Directory(PathBuf),
    /// An object store.
    Bucket(BucketTarget),
}

/// A prefix of a bucket.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketTarget {
    /// Whose bucket.
    pub(super) provider: Provider,
    /// Its name.
    pub(super) bucket: String,
    /// What all names in it begin with; empty for the whole bucket, without slashes at its ends.
    pub(super) prefix: String,
    pub(super) access: Access,
}

/// Which object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    S3,
    Google,
    Azure,
}

impl Provider {
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// How a bucket is reached, beyond what the provider's usual environment variables say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Base URL of the service, for all that is not the provider's own.
    pub endpoint: Option<String>,
    /// S3's region.
    pub region: Option<String>,
    /// Take an `http://` endpoint on another machine.
    pub allow_http: bool,
    /// Path of a service account's JSON file, Google's only.
    pub service_account: Option<PathBuf>,
    /// Name of the storage account, Azure's only.
    pub account: Option<String>,
    /// Credentials by `object_store`'s names for them.
    pub secrets: Vec<(&'static str, Secret<String>)>,
}

impl Target {
    /// Reads a destination. The error is a sentence about it and a way to mend it, `; ` between them.
    pub fn parse(text: &str, access: Access) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(format!("is empty; {KNOWN}")) } else { Ok(Self::Directory(text.into())) };
        };
        let provider = match scheme {
            "file" if rest.starts_with('/') => return Ok(Self::Directory(rest.into())),
            "s3" => Provider::S3,
            "gs" => Provider::Google,
            "az" => Provider::Azure,
            _ => return Err(format!("is of no kind that weir exports to; {KNOWN}")),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(format!("names no bucket; {KNOWN}"));
        }
        let prefix = prefix.trim_end_matches('/');
        let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(|c| plain(c) || c == '=');
        if !prefix.is_empty() && !prefix.split('/').all(segment) {
            return Err(
                "has a prefix that not every store takes; use letters, digits and - _ . = between slashes".into()
            );
        }
        access.check()?;
        Ok(Self::Bucket(BucketTarget { provider, bucket: bucket.into(), prefix: prefix.into(), access }))
    }
}

impl Access {
    fn check(&self) -> Result<(), String> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        if endpoint.contains(['@', '?', '#']) {
            return Err(
                "has an endpoint with a user name, a query or a fragment; write endpoint as https://HOST".into()
            );
        }
        let host = match endpoint.split_once("://") {
            Some(("https", _)) => return Ok(()),
            Some(("http", rest)) => rest.split(['/', ':']).next().unwrap_or_default(),
            _ => return Err("has an endpoint without https://; write endpoint as https://HOST".into()),
        };
        if self.allow_http || self.is_loopback() {
            return Ok(());
        }
        Err(format!("would go to {host} over plain http; use https, or allow http if the path is private"))
    }

    /// Is the endpoint this machine?
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.endpoint.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| names(host, own)))
    }
}

fn names(authority: &str, host: &str) -> bool {
    authority.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(BucketTarget { provider, bucket, prefix, .. }) => {
                write!(f, "{}://{bucket}/{prefix}", provider.scheme())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_taken_for_another_one() {
        let read = |text: &str| Target::parse(text, Access::default()).map(|target| target.to_string());
        assert_eq!(read("out"), Ok("out".into()));
        assert_eq!(read("file:///var/out"), Ok("/var/out".into()));
        assert_eq!(read("s3://b/p/q/"), Ok("s3://b/p/q".into()));
        assert_eq!(read("az://c"), Ok("az://c/".into()));
        for wrong in
            ["", "s3://", "s3:///p", "s3://b/../p", "s3://user:secret@b/p", "ftp://b", "s3://b//p", "gs://b/a?x=1"]
        {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("; ") && !error.contains("secret"), "{wrong}: {error}");
        }
    }

    #[test]
    fn credentials_travel_in_clear_over_a_network() {
        let read = |endpoint: &str, allow_http| {
            let access = Access { endpoint: Some(endpoint.into()), allow_http, ..Access::default() };
            Target::parse("s3://b/p", access).is_ok()
        };
        assert!(read("https://minio:9000", false) && read("http://127.0.0.1:9000", false));
        assert!(read("http://minio:9000", true));
        for wrong in ["http://minio:9000", "minio:9000", "http://127.0.0.1.evil.example", "http://localhost:x@evil"] {
            assert!(!read(wrong, false), "{wrong}");
        }
    }
}
