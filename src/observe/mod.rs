//! Metric names, histograms, logs.

pub mod log;

pub mod names;
