//! Metric names, histograms, logs.

mod batch;
mod connections;
mod credentials;
pub mod log;
pub mod metrics;
pub mod names;
mod scrape;

pub use credentials::{CredentialFigures, Credentials};
pub use scrape::{Accounts, ExportFigures, ExportSource, JournalFigures, Sources, Upstreams};
