//! Where a configuration comes from.

use crate::control::config::{self, Config, ConfigError};
use std::path::{Path, PathBuf};

/// A file that is read again at every reload, or a text that stays as it is (`weir demo`).
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text.
    Text(String),
}

impl Source {
    /// Reads and checks it.
    pub fn load(&self) -> Result<Config, Vec<ConfigError>> {
        match self {
            Self::File(path) => config::load(path),
            Self::Text(text) => config::parse(text, Path::new("."), &|name| std::env::var(name).ok()),
        }
    }
}
