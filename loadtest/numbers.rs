//! Everything that is promised, measured in one go, and written into a page of text between two markers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::cli::{Keep, seconds};
use super::compare::{self, CompareOptions};
use super::gateways::Kind;
use super::report::{Comparison, Parts};
use super::stage::{self, Listens, Stage, StageArgs};
use super::{delay, idle, soak, start, streams, targets};

/// Where the figures begin in a page of text.
pub const BEGIN: &str = "<!-- numbers: begin -->";
/// Where they end.
pub const END: &str = "<!-- numbers: end -->";
/// The workloads whose CPU time is promised.
const WORKLOADS: [&str; 8] =
    ["unary", "upload64k", "upload256k", "sse", "paced", "tls-unary", "tls-paced", "tls-connect"];

/// How long, and where to.
#[derive(Args)]
pub struct NumbersArgs {
    /// The page of text whose figures are replaced, between the markers; only printed if left out.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Seconds of each measured run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Open streams of the memory figures.
    #[arg(long, default_value_t = targets::IDLE_STREAMS)]
    idle_streams: usize,
    /// Minutes of the soak; 0 leaves it out.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Keys of the start.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// Where criterion has left the figures of `cargo bench --bench governance`.
    #[arg(long, value_name = "DIR", default_value = "target/criterion")]
    criterion: PathBuf,
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    keep: Keep,
}

/// What governance costs by itself, measured by criterion.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Governance {
    /// What of it.
    pub what: &'static str,
    /// Nanoseconds.
    pub ns: f64,
    /// At most this is promised.
    pub must_ns: f64,
}

/// Measures, prints, writes.
pub(super) async fn run(args: NumbersArgs) -> Result<ExitCode, String> {
    let page = args.write.as_deref().map(Page::read).transpose()?;
    let time = seconds(args.seconds)?;
    let mut parts = Parts { governance: governance(&args.criterion), ..Parts::default() };
    if parts.governance.is_empty() {
        eprintln!(
            "weir-loadtest: no figures of governance in {}: run `cargo bench --bench governance` first",
            args.criterion.display()
        );
    }
    // Nothing else runs while a start is timed.
    parts.start = Some(start::measure(args.stage.weir.as_deref(), args.keys, args.rounds.max(5))?);
    let pair = [Kind::Nginx, Kind::Weir];
    let both = Listens { plain: true, tls: true };
    let on_stage = Stage::set(&args.stage, &pair, both, stage::quick(None, 0))?;
    let gateways = on_stage.gateways();
    let options = CompareOptions {
        gateways: gateways.clone(),
        workloads: WORKLOADS.map(str::to_owned).into(),
        time,
        rounds: args.rounds.max(1),
        connections: None,
        key: String::new(),
        seed: 0,
    };
    parts.rows = compare::compare(&options).await?;
    print!("{}", compare::table(&parts.rows));
    parts.idle = idle::measure(&gateways, args.idle_streams, "", 0).await?;
    print!("\n{}", idle::table(&parts.idle));
    drop(on_stage);
    let on_stage = Stage::set(&args.stage, &pair, Listens::PLAIN, stage::quick(None, 0))?;
    parts.streams = streams::measure(&on_stage.gateways(), &streams::COUNTS, time, args.rounds).await?;
    print!("\n{}", streams::table(&parts.streams));
    parts.delays = delay::measure(&delay::ways(&on_stage), 1000, time, args.rounds).await?;
    print!("\n{}", delay::table(&parts.delays));
    drop(on_stage);
    if args.minutes > 0.0 {
        let on_stage = Stage::set(&args.stage, &[Kind::Weir], Listens::PLAIN, stage::quick(None, 0))?;
        let soaked = soak::measure(&on_stage, args.minutes, 60.0, 400).await?;
        print!("\n{}", soak::text(&soaked));
        parts.soak = Some(soaked);
    }
    let failed = errors(&parts);
    let comparison = Comparison::new(parts);
    args.keep.tell(&comparison)?;
    if failed > 0 {
        return Err(format!("{failed} requests failed; figures that come from failures are not written"));
    }
    if let Some(page) = page {
        page.write(&text(&comparison))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn errors(parts: &Parts) -> u64 {
    parts.rows.iter().map(|row| row.median.errors).sum::<u64>()
        + parts.idle.iter().map(|row| row.errors).sum::<u64>()
        + parts.streams.iter().map(|row| row.errors).sum::<u64>()
        + parts.delays.iter().map(|row| row.errors).sum::<u64>()
        + parts.soak.as_ref().map_or(0, |soak| soak.errors)
}

/// What stands between the markers.
fn text(comparison: &Comparison) -> String {
    format!(
        "Measured {} with weir {} on {}: `{}`.\n\n{}",
        comparison.at.split('T').next().unwrap_or_default(),
        comparison.weir,
        comparison.machine,
        comparison.command,
        targets::markdown(&comparison.targets)
    )
}

/// The medians that criterion has left, where it has.
fn governance(criterion: &Path) -> Vec<Governance> {
    let figure = |what, bench: &str, must_ns| {
        let file = criterion.join("governance").join(bench).join("new/estimates.json");
        let estimates: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        Some(Governance { what, ns: estimates["median"]["point_estimate"].as_f64()?, must_ns })
    };
    [
        figure("governance of one request: identify, admit, meter, settle, record", "request", 1500.0),
        figure("governance of one event: metering", "event", 60.0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A page of text with markers.
struct Page {
    path: PathBuf,
    before: String,
    after: String,
}

impl Page {
    /// Reads it before anything is measured, so that a page without markers costs nobody an hour.
    fn read(path: &Path) -> Result<Page, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let Some((before, after)) = parts else {
            return Err(format!("{} has no place for the figures: put {BEGIN} and {END} into it", path.display()));
        };
        Ok(Page { path: path.to_path_buf(), before: before.to_owned(), after: after.to_owned() })
    }

    fn write(&self, figures: &str) -> Result<(), String> {
        let Page { path, before, after } = self;
        let text = format!("{before}{BEGIN}\n{figures}{END}{after}");
        fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_over_the_text_around_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("README.md");
        fs::write(&path, "a\n").unwrap();
        assert!(Page::read(&path).err().unwrap().contains(BEGIN));
        fs::write(&path, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        for _ in 0..2 {
            Page::read(&path).unwrap().write("new\n").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
    }

    #[test]
    fn a_figure_that_criterion_has_not_left_is_made_up() {
        let dir = tempfile::tempdir().unwrap();
        assert!(governance(dir.path()).is_empty());
        let at = dir.path().join("governance/event/new");
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("estimates.json"), r#"{"median":{"point_estimate":41.5}}"#).unwrap();
        let found = governance(dir.path());
        assert_eq!((found.len(), found[0].ns, found[0].must_ns), (1, 41.5, 60.0));
    }
}
