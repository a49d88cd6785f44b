//! AWS: the whole credential chain, as the vendor's own clients walk it (contract.md §5.3).

use super::{Fresh, MintError};
use crate::kernel::{
    credential::{AwsKeys, Shown},
    secret::Secret,
};
use aws_config::{Region, default_provider::credentials::DefaultCredentialsChain};
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use std::time::UNIX_EPOCH;

/// Walks the chain anew: environment, profile (files, processes, roles, SSO), web identity, container, instance. Nothing is kept
/// between two walks, so that what changed in files and environment counts.
pub(super) async fn chain(profile: Option<&str>, region: &str) -> Result<Fresh, MintError> {
    let mut builder = DefaultCredentialsChain::builder().region(Region::new(region.to_owned()));
    if let Some(profile) = profile {
        builder = builder.profile_name(profile);
    }
    let chain = builder.build().await;
    let found = chain.provide_credentials().await.map_err(|error| MintError::new(explain(&error)))?;
    let expires_at = found
        .expiry()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map(|since| since.as_secs().min(i64::MAX as u64) as i64);
    let keys = AwsKeys {
        access_key_id: found.access_key_id().into(),
        secret_access_key: Secret::new(found.secret_access_key().into()),
        session_token: found.session_token().map(|token| Secret::new(token.into())),
    };
    Ok(Fresh { shown: Shown::Keys(keys), expires_at })
}

/// The chain of causes, which name sources, addresses and status codes.
fn explain(error: &CredentialsError) -> String {
    let mut text = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no source of the AWS credential chain has credentials (environment, profile, web identity, container, instance)"
                .to_owned()
        }
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
