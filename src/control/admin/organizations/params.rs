//! Query strings as the Admin API takes them: lists are a name with `[]`, repeated.

use super::error::ApiError;
use jiff::Timestamp;

/// A query string, read piece by piece; what is left at the end nobody knows.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    /// Takes a query string's pairs. SDKs send `beta=true` with some of these paths; it changes nothing.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        let pairs = pairs.into_iter().filter(|(name, _)| name != "beta").collect();
        Self { pairs, known: Vec::new() }
    }

    /// All values of a list, given as `name[]=` or `name=`.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let is_it = |given: &str| given == name || given.strip_suffix("[]") == Some(name);
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(given, _)| is_it(given));
        self.pairs = rest;
        let mut values: Vec<String> = Vec::new();
        for (_, value) in Vec::<(String, String)>::into_iter(taken) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// A list of which only these values are known.
    pub fn choices<T: Copy>(&mut self, name: &'static str, all: &[(&str, T)]) -> Result<Vec<T>, ApiError> {
        let found = |value: String| {
            all.iter().find(|(known, _)| *known == value).map(|(_, choice)| *choice).ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
                ApiError::invalid(format!("{name}[]: `{value}` is none of {}", known.join(", ")))
            })
        };
        self.list(name).into_iter().map(found).collect()
    }

    /// A single value; an empty one is none.
    pub fn one(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        let mut values = self.list(name);
        if values.len() > 1 {
            return Err(ApiError::invalid(format!("{name}: is given {} times; give it once", values.len())));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// A number of things, from 1 to `max`.
    pub fn limit(&mut self, usual: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.one("limit")? else { return Ok(usual) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| ApiError::invalid(format!("limit: `{text}` is not a number from 1 to {max}")))
    }

    /// A moment as Unix seconds.
    pub fn moment(&mut self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        // A `+` that was not escaped has become a space on its way here.
        let at = text.replace(' ', "+").parse::<Timestamp>().map(|at| at.as_second());
        at.map(Some).map_err(|_| {
            ApiError::invalid(format!("{name}: `{text}` is no RFC 3339 timestamp, such as 2026-11-21T00:00:00Z"))
        })
    }

    /// Everything has been asked for; what is left is refused.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(ApiError::invalid(format!("{name}: unknown parameter; this path takes {}", self.known.join(", "))))
            }
        }
    }
}
