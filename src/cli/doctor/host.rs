//! The host as `/proc` and `/sys` show it, held against one knob.

use super::{
    Probe, Verdict,
    knobs::{Knob, Where},
};
use std::path::{Path, PathBuf};

/// io_uring with DEFER_TASKRUN, which the shards' rings ask for, came with this kernel.
const KERNEL_WANTED: (u32, u32) = (6, 1);
/// An idle state that takes longer to leave delays the first event after a pause. Microseconds.
const IDLE_LATENCY_US_MAX: u64 = 20;

/// Where the host is read, and how many cores this process may use.
pub(super) struct Host {
    pub(super) proc: PathBuf,
    pub(super) sys: PathBuf,
    pub(super) cores: usize,
}

/// A value, what is wanted, and how it stands.
type Seen = (String, String, Verdict);

impl Host {
    /// Looks at one knob.
    pub(super) fn look(&self, knob: &Knob, probe: Probe<'_>) -> Seen {
        match (knob.place, knob.key.as_str()) {
            (Where::Sysctl, name) => judged(knob, self.sysctl(name)),
            (Where::Limit, line) => self.limit_stands(knob, line),
            (Where::Sys, pattern) => self.every(knob, pattern),
            (Where::Host, "kernel") => self.kernel(),
            (Where::Host, "ring") => ring(probe),
            (Where::Host, "cores") => judged(knob, Some(self.cores.to_string())),
            (Where::Host, "idle_states") => self.idle_states(),
            (Where::Host, "card") => self.card(),
            (Where::Host, other) => (format!("nobody knows how to look at {other}"), "-".to_owned(), Verdict::Warn),
        }
    }

    /// The content of a file under `/proc`, without the line break at its end.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.proc.join(path)).ok().map(|text| text.trim().to_string())
    }

    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        let value = self.read(Path::new("sys").join(name.replace('.', "/")))?;
        Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The soft limit of this process; `u64::MAX` for unlimited.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.read("self/limits")?;
        let soft = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.to_string();
        if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
    }

    fn limit_stands(&self, knob: &Knob, line: &str) -> Seen {
        let (value, wanted, verdict) = judged(knob, self.limit(line).map(|value| value.to_string()));
        let unlimited = value == u64::MAX.to_string();
        (if unlimited { "unlimited".to_owned() } else { value }, wanted, verdict)
    }

    /// Of many files the worst: the first that is not as wanted, else the first.
    fn every(&self, knob: &Knob, pattern: &str) -> Seen {
        let files = expand(&self.sys, pattern);
        let seen: Vec<Seen> = files
            .iter()
            .map(|file| judged(knob, std::fs::read_to_string(file).ok().map(|s| s.trim().to_owned())))
            .collect();
        let wrong = seen.iter().filter(|(.., verdict)| *verdict != Verdict::Ok).count();
        match seen.iter().find(|(.., verdict)| *verdict != Verdict::Ok).or(seen.first()) {
            Some((value, wanted, verdict)) if wrong > 0 => {
                (format!("{value} on {wrong} of {}", seen.len()), wanted.clone(), *verdict)
            }
            Some(first) => first.clone(),
            None => judged(knob, None),
        }
    }

    fn kernel(&self) -> Seen {
        let release = self.sysctl("kernel.osrelease");
        let version = release.as_deref().and_then(|release| {
            let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        let new = version.is_some_and(|version: (u32, u32)| version >= KERNEL_WANTED);
        let wanted = format!("at least {}.{}", KERNEL_WANTED.0, KERNEL_WANTED.1);
        (shown(release), wanted, if new { Verdict::Ok } else { Verdict::Fail })
    }

    fn idle_states(&self) -> Seen {
        let wanted = format!("none that takes longer than {IDLE_LATENCY_US_MAX} µs to leave");
        let number =
            |file: PathBuf| std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let states = expand(&self.sys, "devices/system/cpu/cpu*/cpuidle/state*");
        let latency = |state: &PathBuf| {
            let on = number(state.join("disable")) != Some(1);
            number(state.join("latency")).filter(|latency| on && *latency > IDLE_LATENCY_US_MAX)
        };
        match states.iter().filter_map(latency).max() {
            Some(worst) => (format!("one of {worst} µs is on"), wanted, Verdict::Warn),
            None if states.is_empty() => ("not there".to_owned(), wanted, Verdict::Ok),
            None => ("none".to_owned(), wanted, Verdict::Ok),
        }
    }

    /// The network card with the fewest queues.
    fn card(&self) -> Seen {
        let cards = expand(&self.sys, "class/net/*/device");
        let queues = |card: &PathBuf| {
            let card = card.parent()?;
            let name = card.file_name()?.to_string_lossy().into_owned();
            Some((expand(card, "queues/rx-*").len(), name))
        };
        let wanted = format!("a queue for each of {} cores", self.cores);
        match cards.iter().filter_map(queues).min() {
            None => ("no card of its own".to_owned(), wanted, Verdict::Ok),
            Some((queues, name)) => {
                let verdict = if queues >= self.cores { Verdict::Ok } else { Verdict::Warn };
                (format!("{name} has {queues}"), wanted, verdict)
            }
        }
    }
}

fn ring(probe: Probe<'_>) -> Seen {
    match probe() {
        Ok(()) => ("usable".to_owned(), "usable".to_owned(), Verdict::Ok),
        Err(error) => (format!("not usable: {error}"), "usable".to_owned(), Verdict::Fail),
    }
}

/// A value as shown; a missing one says so.
fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "not readable".to_owned())
}

fn judged(knob: &Knob, value: Option<String>) -> Seen {
    let Some(value) = value else {
        return match knob.absent.as_deref() {
            Some("ok") => ("not there".to_owned(), knob.wanted(), Verdict::Ok),
            _ => (shown(None), knob.wanted(), Verdict::Warn),
        };
    };
    let number = value.parse::<u64>().ok();
    let span = || {
        let mut ends = value.split_whitespace().map(str::parse::<u64>);
        let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
        last.checked_sub(first)
    };
    let hopeless = knob.fail_below.is_some_and(|least| number.is_some_and(|number| number < least))
        || (!knob.fail_unless.is_empty() && !knob.fail_unless.contains(&value));
    let good = knob.at_least.is_none_or(|least| number.is_some_and(|number| number >= least))
        && knob.span_at_least.is_none_or(|least| span().is_some_and(|span| span >= least))
        && (knob.one_of.is_empty() || knob.one_of.contains(&value));
    let verdict = match (hopeless, good) {
        (true, _) => Verdict::Fail,
        (false, false) => Verdict::Warn,
        (false, true) => Verdict::Ok,
    };
    (value, knob.wanted(), verdict)
}

/// The paths below `root` that a pattern names, `*` standing for any rest of a name. In order.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![root.to_path_buf()];
    for part in pattern.split('/') {
        found = match part.split_once('*') {
            None => found.into_iter().map(|path| path.join(part)).filter(|path| path.exists()).collect(),
            Some((before, _)) => found.iter().flat_map(|path| beginning_with(path, before)).collect(),
        };
    }
    found.sort();
    found
}

/// Entries of a folder whose names go on with a number, or with anything where the pattern is a star alone.
fn beginning_with(folder: &Path, before: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |name: &str| {
        let rest = name.strip_prefix(before);
        rest.is_some_and(|rest| before.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    entries.filter(|entry| fits(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}
