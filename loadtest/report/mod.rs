//! What a comparison leaves behind: one JSON line for the history, one HTML page for people.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use serde::Serialize;

use super::{
    compare::Row,
    delay::DelayRow,
    idle::IdleRow,
    numbers::Governance,
    soak::Soak,
    start::Start,
    streams::StreamsRow,
    targets::{self, Line},
};

mod page;
mod plot;

pub use plot::escape;

/// What was measured; a measurement of one thing leaves the others empty.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Parts {
    /// CPU and latency.
    pub rows: Vec<Row>,
    /// Memory of open streams.
    pub idle: Vec<IdleRow>,
    /// What an event costs with few streams and with many.
    pub streams: Vec<StreamsRow>,
    /// How late events come.
    pub delays: Vec<DelayRow>,
    /// Memory over time.
    pub soak: Option<Soak>,
    /// Time to be ready.
    pub start: Option<Start>,
    /// What governance costs by itself.
    pub governance: Vec<Governance>,
}

/// One measurement, whole.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// When it was made, RFC 3339.
    pub at: String,
    /// Which weir: version, and commit where there is one.
    pub weir: String,
    /// The machine: processor, cores, kernel.
    pub machine: String,
    /// The command line.
    pub command: String,
    /// The promises that it says something about.
    pub targets: Vec<Line>,
    /// The figures.
    #[serde(flatten)]
    pub parts: Parts,
}

impl Comparison {
    /// A measurement made just now, here.
    pub fn new(parts: Parts) -> Self {
        Self {
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            weir: format!("{} {}", env!("CARGO_PKG_VERSION"), commit()).trim().to_owned(),
            machine: machine(),
            command: command(),
            targets: targets::lines(&parts),
            parts,
        }
    }

    /// Adds it to a file with one comparison a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_to(&self, history: &Path) -> Result<(), String> {
        let cannot = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", history.display());
        let line = serde_json::to_string(self).map_err(|error| cannot(&error))?;
        make_directory_of(history).map_err(|error| cannot(&error))?;
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(history).map_err(|error| cannot(&error))?;
        writeln!(file, "{line}").map_err(|error| cannot(&error))
    }

    /// Writes it as a page that needs nothing but itself.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_page(&self, path: &Path) -> Result<(), String> {
        make_directory_of(path)
            .and_then(|()| fs::write(path, page::html(self)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// Makes the directory that a file is to lie in: what half an hour was measured for is not lost for want of it.
fn make_directory_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The command line, without where the program lies.
fn command() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

fn commit() -> String {
    let out = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    out.ok()
        .filter(|out| out.status.success())
        .map_or_else(String::new, |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    // Of the machine, not those that this process keeps to.
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_measurement_is_lost_for_want_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (history, page) = (dir.path().join("new/history.jsonl"), dir.path().join("other/new/page.html"));
        let measured = Comparison::new(Parts::default());
        for lines in 1..3 {
            measured.append_to(&history).unwrap();
            assert_eq!(fs::read_to_string(&history).unwrap().lines().count(), lines);
        }
        measured.write_page(&page).unwrap();
        assert!(page.is_file());
        assert!(measured.append_to(dir.path()).unwrap_err().contains("cannot write"));
    }
}
