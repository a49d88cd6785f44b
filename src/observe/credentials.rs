//! Upstream credentials as a scraper sees them: valid or not, how long still, how many minted, how many attempts failed.

use super::names;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{fmt, sync::Arc};

/// How one upstream's minted credential is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFigures {
    /// Which upstream.
    pub upstream: String,
    /// It can be shown now.
    pub valid: bool,
    /// How long still, seconds, negative once it has ended; `None` for ever, or where there is none.
    pub remaining_seconds: Option<i64>,
    /// How many have been minted.
    pub minted: u64,
    /// How many attempts to mint one have failed.
    pub failed: u64,
}

/// Where the figures are looked up.
pub type Credentials = Arc<dyn Fn() -> Vec<CredentialFigures> + Send + Sync>;

pub(super) struct CredentialScrape(pub Credentials);

impl fmt::Debug for CredentialScrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialScrape").finish_non_exhaustive()
    }
}

impl Collector for CredentialScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = (self.0)();
        if all.is_empty() {
            return Ok(());
        }
        let help = "Can the upstream's minted credential be shown now";
        let mut family = encoder.encode_descriptor(names::CREDENTIAL_VALID, help, None, MetricType::Gauge)?;
        for one in &all {
            family.encode_family(&[("upstream", one.upstream.as_str())])?.encode_gauge(&i64::from(one.valid))?;
        }
        let help = "How long the upstream's minted credential is still good";
        let mut family = encoder.encode_descriptor(names::CREDENTIAL_REMAINING, help, None, MetricType::Gauge)?;
        for one in &all {
            if let Some(seconds) = one.remaining_seconds {
                family.encode_family(&[("upstream", one.upstream.as_str())])?.encode_gauge(&seconds)?;
            }
        }
        let help = "Attempts to mint an upstream's credential, by how they ended";
        let mut family = encoder.encode_descriptor(names::CREDENTIAL_MINTS, help, None, MetricType::Counter)?;
        for one in &all {
            for (result, count) in [("minted", one.minted), ("failed", one.failed)] {
                family
                    .encode_family(&[("upstream", one.upstream.as_str()), ("result", result)])?
                    .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}
