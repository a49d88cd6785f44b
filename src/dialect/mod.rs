//! The API formats: paths and operations, error bodies, usage rules. Pure: bytes and values in, values out.
//!
//! One folder per format, with the same files in each: `paths` (what a request asks for), `errors` (how a fault is said),
//! `usage` (how an answer tells what it used). Deliberately absent: anything that decides; a dialect only translates.

pub mod answer;
pub mod anthropic;
pub mod aws;
pub mod headers;
pub mod retry_after;

use crate::kernel::record::{Format, Operation};
use std::ops::Range;

/// What a request asks for, read off its method and raw path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which format the path belongs to.
    pub format: Format,
    /// What is asked.
    pub operation: Operation,
    /// The part of the raw path that goes to an upstream of the same format: our own prefix is cut off.
    pub path: Range<usize>,
    /// A resource named at the end of the path, still encoded.
    pub resource: Range<usize>,
}

/// Why a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path.
    Path,
    /// The path exists, but not with this method; these are allowed.
    Method(&'static str),
}
