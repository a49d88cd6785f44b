//! `weir audit`: what the journal's files say, without the gateway (interface.md §1).

mod body;
mod changes;
mod checkpoint;
mod export;
mod query;
mod verify;

use crate::{control::audit::Progress, control::ledger::parse_time, kernel::time::UnixMs};
use clap::{Args, Subcommand};
use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Something that takes longer than this says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove the hash chain, offline or beside a running gateway; name the first bad place
    Verify(verify::VerifyArgs),
    /// Find records in the journal
    Query(Box<query::QueryArgs>),
    /// Add what is new to a directory or an object store, as Parquet or JSON lines, one folder a day
    Export(export::ExportArgs),
    /// Decrypt what a request and its answer said, where audit.bodies = "full" stored that
    Body(body::BodyArgs),
    /// Sign how far the journal has come, for `verify --checkpoint`
    Checkpoint(checkpoint::CheckpointArgs),
    /// Make an Ed25519 key pair for checkpoints
    Keygen(checkpoint::KeygenArgs),
}

/// Which journal.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// The directory that store.path names in the configuration
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    pub store: PathBuf,
}

/// Runs the command: 0, or 1 with the reason on stderr.
pub fn run(command: &AuditCommand) -> ExitCode {
    let (name, done) = match command {
        AuditCommand::Verify(args) => ("verify", verify::run(args)),
        AuditCommand::Query(args) => ("query", query::run(args)),
        AuditCommand::Export(args) => ("export", export::run(args)),
        AuditCommand::Body(args) => ("body", body::run(args)),
        AuditCommand::Checkpoint(args) => ("checkpoint", checkpoint::run(args)),
        AuditCommand::Keygen(args) => ("keygen", checkpoint::keygen(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir audit {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says on stderr how far a walk is, every two seconds.
struct Teller {
    doing: &'static str,
    began: Instant,
    told: Instant,
    wipe: bool,
}

impl Teller {
    fn new(doing: &'static str) -> Self {
        let now = Instant::now();
        Self { doing, began: now, told: now, wipe: false }
    }

    fn tell(&mut self, at: &Progress) {
        if self.told.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        self.told = Instant::now();
        let seconds = self.began.elapsed().as_secs();
        let text = format!(
            "weir: {}: segment {}, {} entries, {} MiB, {seconds} s",
            self.doing,
            at.segment,
            at.entries,
            at.bytes >> 20
        );
        // On a terminal one line is written over, and wiped at the end; a log gets a line each. Who does not hear how far
        // it is will hear the result.
        let mut err = io::stderr().lock();
        self.wipe = err.is_terminal();
        let _unheard = if self.wipe { write!(err, "\r{text}\x1b[K") } else { writeln!(err, "{text}") };
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if self.wipe {
            eprint!("\r\x1b[K");
        }
    }
}

/// Writes an answer to stdout; a reader such as `head` that has seen enough is no error.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    heard(out.write_all(text.as_bytes()).and_then(|()| out.flush())).map(|_| ())
}

/// False if nobody reads any more.
fn heard(written: io::Result<()>) -> Result<bool, String> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot print: {error}")),
    }
}

fn time_of(name: &str, text: Option<&String>) -> Result<Option<i64>, String> {
    text.map(|text| parse_time(text).map_err(|error| format!("--{name}: {error}"))).transpose()
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

fn now() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}
