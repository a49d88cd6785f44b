//! `weir doctor`: compares this host with the knobs of `tuning/knobs.toml`. Everything is read from `/proc` and `/sys`; nothing is
//! changed.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

mod host;
mod knobs;

use host::Host;
use knobs::Knob;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One line of the report.
struct Finding {
    name: String,
    value: String,
    wanted: String,
    verdict: Verdict,
    mend: String,
}

type Probe<'a> = &'a dyn Fn() -> Result<(), String>;

/// Looks at this host and prints one line for each requirement; exits with 1 if a hard one is not met.
pub fn run() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let host = Host { proc: PathBuf::from("/proc"), sys: PathBuf::from("/sys"), cores };
    let knobs = match knobs::all() {
        Ok(knobs) => knobs,
        Err(error) => {
            eprintln!("weir: the table of knobs that this program was built with cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    let findings = examine(&knobs, &host, &crate::sys::probe::io_uring);
    match print(&findings, &mut io::stdout().lock()) {
        Ok(()) if findings.iter().all(|finding| finding.verdict != Verdict::Fail) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn examine(knobs: &[Knob], host: &Host, probe: Probe<'_>) -> Vec<Finding> {
    knobs
        .iter()
        .map(|knob| {
            let (value, wanted, verdict) = host.look(knob, probe);
            Finding { name: knob.name.clone(), value, wanted, verdict, mend: knob.mend.clone() }
        })
        .collect()
}

fn print(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let Finding { name, value, wanted, verdict, mend } = finding;
        writeln!(out, "{verdict:<5} {name:<32} {value} (wanted: {wanted})")?;
        if *verdict != Verdict::Ok {
            writeln!(out, "      mend: {mend}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
