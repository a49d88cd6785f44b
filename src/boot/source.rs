//! Where a configuration comes from.

use crate::control::config::{self, Config, ConfigError};
use std::path::{Path, PathBuf};

/// A file that is read again at every reload, or a text that stays as it is (`weir demo`).
#[derive(Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text, with the environment it refers to.
    Text {
        /// The configuration.
        text: String,
        /// Names and values for its `${NAME}`s.
        environment: Vec<(String, String)>,
    },
}

impl Source {
    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text { .. } => None,
        }
    }

    /// Reads and checks it.
    pub fn load(&self) -> Result<Config, Vec<ConfigError>> {
        match self {
            Self::File(path) => config::load(path),
            Self::Text { text, environment } => {
                let find = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
                config::parse(text, Path::new("."), &find)
            }
        }
    }
}
