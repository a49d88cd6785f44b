//! Metric names, histograms, logs.
