//! Logs: to stderr, human lines on a terminal, JSON otherwise (interface.md §1).

use std::{fmt, io::IsTerminal, str::FromStr};
use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged, in the form of `tracing` filters: `warn`, `weir=debug`.
pub const FILTER_VARIABLE: &str = "WEIR_LOG";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line a human reads.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format; write auto, human or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// Starts logging, once in a process. An error says why there is none: a filter that cannot be read, or a second start.
pub fn init(format: LogFormat) -> Result<(), String> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| format!("{FILTER_VARIABLE}=`{text}`: {error}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder.json().flatten_event(true).try_init(),
        (LogFormat::Human, _) | (LogFormat::Auto, true) => builder.with_ansi(terminal).try_init(),
    };
    started.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_log_format_is_told_the_right_ones() {
        assert!("Json".parse::<LogFormat>().unwrap_err().contains("human"));
        for format in [LogFormat::Auto, LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }
}
