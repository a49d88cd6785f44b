//! Metric names, histograms, logs.

pub mod log;
pub mod metrics;
pub mod names;
mod scrape;

pub use scrape::{Accounts, ExportFigures, ExportSource, JournalFigures, Sources};
