//! One-off raises: money an operator adds to one window of one budget. They are kept in a file of the store, so that a restart
//! or a reload does not take them back; with their window they are over.

use crate::kernel::{
    account::{Account, Scope},
    money::Nanos,
    window::Window,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const FILE: &str = "budget-raises.json";
/// Raises in force at the same time, at most.
const RAISES_MAX: usize = 10_000;

/// One budget's raise in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raise {
    scope: String,
    period: String,
    window_start: i64,
    window_end: i64,
    nanos: i64,
}

impl Raise {
    fn is_of(&self, scope: &str, period: &str, window: Window) -> bool {
        self.scope == scope && self.period == period && self.window_start == window.start
    }
}

/// All raises in force.
#[derive(Default)]
pub struct Raises {
    directory: Option<PathBuf>,
    raises: Vec<Raise>,
}

impl Raises {
    /// Reads those of a store; none if there is no file.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let raises = match fs::read(directory.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {error}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { directory: Some(directory.into()), raises })
    }

    /// What is added to an account's amount.
    pub fn of(&self, scope: &str, period: &str, window: Window) -> Nanos {
        let found = self.raises.iter().find(|raise| raise.is_of(scope, period, window));
        found.map_or(Nanos::ZERO, |raise| Nanos(raise.nanos))
    }

    /// Scope, period and window of all that are in force. One whose scope cannot be told from its text is left out.
    pub fn in_force(&self, now_seconds: i64) -> impl Iterator<Item = (Scope, &str, Window)> {
        self.raises.iter().filter(move |raise| raise.window_end > now_seconds).filter_map(|raise| {
            let window = Window { start: raise.window_start, end: raise.window_end };
            Some((Scope::parse(&raise.scope)?, raise.period.as_str(), window))
        })
    }

    /// Adds to an account's amount, and returns when that is on disk. If it cannot be written, nothing has changed.
    pub fn add(&mut self, account: &Account, amount: Nanos, now_seconds: i64) -> io::Result<()> {
        let mut next: Vec<Raise> = self.raises.iter().filter(|raise| raise.window_end > now_seconds).cloned().collect();
        let (scope, period, window) = (account.scope.to_string(), account.period.as_str(), account.window);
        let full = next.len() >= RAISES_MAX;
        match next.iter_mut().find(|raise| raise.is_of(&scope, period, window)) {
            Some(raise) => raise.nanos = Nanos(raise.nanos).plus(amount).0,
            None if full => return Err(io::Error::other("too many raises are in force")),
            None => next.push(Raise {
                scope,
                period: period.to_owned(),
                window_start: window.start,
                window_end: window.end,
                nanos: amount.0,
            }),
        }
        self.write(&next)?;
        self.raises = next;
        Ok(())
    }

    /// Written aside and moved, so that a crash leaves the old file or the new one.
    fn write(&self, raises: &[Raise]) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let aside = directory.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec_pretty(raises)?)?;
        file.sync_all()?;
        fs::rename(&aside, directory.join(FILE))?;
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        account::{AccountId, Scope},
        window::Period,
    };

    #[test]
    fn a_raise_is_lost_with_the_process_or_outlives_its_window() {
        let directory = tempfile::tempdir().unwrap();
        let account = |day: i64| {
            let window = Period::Daily.window(day * 86_400);
            Account::new(AccountId(0), Scope::Team("a".into()), Period::Daily, window, Nanos(1), Nanos::ZERO, 1)
        };
        let (today, tomorrow) = (account(1), account(2));
        let mut raises = Raises::open(directory.path()).unwrap();
        raises.add(&today, Nanos(5), 86_400).unwrap();
        raises.add(&today, Nanos(6), 86_401).unwrap();
        let mut again = Raises::open(directory.path()).unwrap();
        assert_eq!(again.of("team:a", "daily", today.window), Nanos(11));
        assert_eq!(again.of("team:a", "daily", tomorrow.window), Nanos::ZERO);
        assert_eq!(again.of("team:a", "weekly", today.window), Nanos::ZERO);
        again.add(&tomorrow, Nanos(7), 2 * 86_400).unwrap();
        assert_eq!((again.raises.len(), again.of("team:a", "daily", tomorrow.window)), (1, Nanos(7)));
    }

    #[test]
    fn a_raise_that_is_not_on_disk_counts() {
        let directory = tempfile::tempdir().unwrap();
        let window = Period::Total.window(0);
        let account = Account::new(AccountId(0), Scope::Org, Period::Total, window, Nanos(1), Nanos::ZERO, 1);
        let mut raises = Raises::open(directory.path()).unwrap();
        drop(directory);
        assert!(raises.add(&account, Nanos(5), 0).is_err());
        assert_eq!(raises.of("org", "total", window), Nanos::ZERO);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "[{]").unwrap();
        assert!(Raises::open(directory.path()).is_err_and(|error| error.to_string().contains(FILE)));
    }
}
