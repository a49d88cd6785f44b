//! Instructions instead of time: what a request costs weir in user space, by callgrind. The count hardly moves from run to
//! run, however busy the machine is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::gateways::{self, Kind, Setup};
use super::generator::{self, RunOptions, workload::Workload};
use super::stage;

/// Requests before the count begins: connections, caches, first allocations.
const WARM_UP: u64 = 500;

/// What to count.
#[derive(Args)]
pub struct InstructionsArgs {
    /// The workload.
    #[arg(long, default_value = "unary")]
    workload: String,
    /// Requests that are counted.
    #[arg(long, default_value_t = 5000)]
    requests: u64,
    /// Functions that are shown.
    #[arg(long, default_value_t = 25)]
    lines: usize,
    /// Start of the names of callgrind's files.
    #[arg(long, default_value = "callgrind")]
    out: PathBuf,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
}

/// Runs it and prints the table.
pub(super) async fn run(args: InstructionsArgs) -> Result<ExitCode, String> {
    let provider = stage::provider(stage::quick(None, 0))?;
    let out = std::path::absolute(&args.out).map_err(|e| format!("{}: {e}", args.out.display()))?;
    let under = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--quiet"].map(str::to_owned);
    let file = format!("--callgrind-out-file={}", out.display());
    let mut setup = Setup::new(provider.addr(), args.weir)?;
    setup.under = under.into_iter().chain([file]).collect();
    let running = gateways::start(Kind::Weir, &setup).map_err(|error| format!("weir under callgrind: {error}"))?;
    let workload = Workload::named(&args.workload, 0)?;
    let options = |requests| RunOptions {
        requests: Some(requests),
        connections: Some(8),
        ..running.gateway.run_options(workload.clone(), "", 0)
    };
    generator::run(&options(WARM_UP)).await?;
    control(&["--zero", &running.pid().to_string()])?;
    let report = generator::run(&options(args.requests)).await?.report;
    control(&["--dump", &running.pid().to_string()])?;
    drop(running);
    let exchanges = report.requests + report.aborted + report.refused;
    let functions = read_dumps(&out)?;
    print!("{}", table(&functions, exchanges.max(1), args.lines));
    Ok(if report.error_count() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn control(args: &[&str]) -> Result<(), String> {
    let output = Command::new("callgrind_control").args(args).output();
    let output = output.map_err(|e| format!("callgrind_control: {e}; it comes with valgrind"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("callgrind_control failed: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Instructions by thread and function, callees not included.
type Functions = BTreeMap<(String, String), u64>;

/// Reads the first dump of each thread: files `<out>.1-<thread>`.
fn read_dumps(out: &Path) -> Result<Functions, String> {
    let cannot = |error: std::io::Error| format!("cannot read the profile {}: {error}", out.display());
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut functions = Functions::new();
    for entry in fs::read_dir(out.parent().unwrap_or(Path::new("."))).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(thread) = file.strip_prefix(&name).and_then(|rest| rest.strip_prefix(".1-")) {
            add(&mut functions, thread, &fs::read_to_string(entry.path()).map_err(cannot)?);
        }
    }
    if functions.is_empty() { Err(format!("there is no profile {}.1-*", out.display())) } else { Ok(functions) }
}

/// Adds one dump in callgrind's format: `fn=(id) name` opens a function, lines of numbers are its costs, and the line behind
/// `calls=` is the callee's.
fn add(functions: &mut Functions, thread: &str, dump: &str) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut current = String::new();
    let mut of_callee = false;
    for line in dump.lines() {
        if let Some(rest) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
            if !name.is_empty() {
                names.insert(id, name);
            }
            if line.starts_with("fn=") {
                names.get(id).copied().unwrap_or(id).clone_into(&mut current);
            }
        } else if line.starts_with("calls=") {
            of_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if !std::mem::take(&mut of_callee) && !current.is_empty() {
                *functions.entry((thread.to_owned(), current.clone())).or_default() += cost;
            }
        }
    }
}

fn table(functions: &Functions, requests: u64, lines: usize) -> String {
    let mut threads: BTreeMap<&str, u64> = BTreeMap::new();
    for ((thread, _), cost) in functions {
        *threads.entry(thread).or_default() += cost;
    }
    let all: u64 = threads.values().sum();
    let mut out = format!("{:>10}  instructions a request, all threads\n", all / requests);
    for (thread, cost) in threads.iter().filter(|(_, cost)| **cost >= requests) {
        out.push_str(&format!("{:>10}  thread {thread}\n", cost / requests));
    }
    let mut dearest: Vec<_> = functions.iter().collect();
    dearest.sort_by_key(|(_, cost)| std::cmp::Reverse(**cost));
    for ((thread, function), cost) in dearest.into_iter().take(lines) {
        out.push_str(&format!("{:>10}  {thread} {function}\n", cost / requests));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callees_cost_is_counted_twice() {
        let dump =
            "events: Ir\nfn=(1) outer\n10 100\n+2 20\ncfn=(2) inner\ncalls=3 50\n12 9000\n13 5\n\nfn=(2)\n50 9000\n";
        let mut functions = Functions::new();
        add(&mut functions, "01", dump);
        let cost = |name: &str| functions[&("01".to_owned(), name.to_owned())];
        assert_eq!((cost("outer"), cost("inner")), (125, 9000));
        let shown = table(&functions, 5, 1);
        assert_eq!(
            shown,
            "      1825  instructions a request, all threads\n      1825  thread 01\n      1800  01 inner\n"
        );
    }
}
