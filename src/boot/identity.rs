//! Keys of issuers that have been fetched: into the book, and to every shard.

use super::plane::Plane;
use crate::{
    control::{
        config::Config,
        identity::{Source, TrustDesk},
    },
    kernel::identity::KeySet,
};
use std::sync::Arc;

impl TrustDesk for Plane {
    fn config(&self) -> Arc<Config> {
        Self::config(self)
    }

    fn learned(&self, source: Source, set: KeySet) {
        let version = self.publish_issuer(source, set);
        tracing::debug!(version, "the keys of an issuer are renewed");
    }
}
