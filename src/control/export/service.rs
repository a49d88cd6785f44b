//! The export as a service of the running gateway: a thread of its own, which nothing waits for.
//!
//! It runs what the newest configuration says, when it is due, and goes on from wherever the last run came to, its own or
//! another's. A run that fails is said once in the log, told in readiness and metrics until one succeeds, and tried again
//! at the next interval, or after `RETRY_INTERVAL` if that is sooner. The process may end in the middle of a run.

use super::{ExportOptions, Exported, Format, export, target::Target};
use crate::{control::audit::AuditError, kernel::time::UnixMs, sys::clock};
use parking_lot::Mutex;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

/// How often the thread looks whether something is due, or configured anew.
const LOOK: Duration = Duration::from_millis(250);
/// How long after a failed run the next may come, if the interval is longer.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// How much of an error is kept for readiness. Bytes.
const ERROR_BYTES_MAX: usize = 1000;

/// `[export]`.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportJob {
    /// Where to.
    pub target: Target,
    /// As what.
    pub format: Format,
    /// From the beginning of one run to the beginning of the next.
    pub interval: Duration,
    /// A part is ended when a batch has this many records.
    pub part_records_max: u64,
}

/// What is known of the service, for metrics and readiness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportStatus {
    /// Everything closed by this moment has been exported; when the service began, before its first whole run.
    pub as_of: UnixMs,
    /// Records exported by this process.
    pub records: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Why the last run failed; none if it succeeded, or there was none.
    pub error: Option<String>,
}

/// Either there is no export, or this is its status.
pub type ExportState = Option<ExportStatus>;

/// The service's state, written by its thread, read by anybody.
#[derive(Default)]
pub struct ExportHealth(Mutex<ExportState>);

impl ExportHealth {
    /// As it is now.
    pub fn state(&self) -> ExportState {
        self.0.lock().clone()
    }

    fn began(&self, now: UnixMs) {
        self.0.lock().get_or_insert_with(|| ExportStatus { as_of: now, ..ExportStatus::default() });
    }

    fn ended(&self, began: UnixMs, result: Result<Exported, String>) {
        let mut state = self.0.lock();
        let Some(status) = state.as_mut() else { return };
        match result {
            Ok(done) => {
                status.as_of = began;
                status.records += done.records;
                status.error = None;
            }
            Err(mut error) => {
                let cut = (0..=ERROR_BYTES_MAX.min(error.len())).rev().find(|at| error.is_char_boundary(*at));
                error.truncate(cut.unwrap_or(0));
                status.failures += 1;
                status.error = Some(error);
            }
        }
    }
}

impl ExportStatus {
    /// How far the destination is behind the journal, at most, seconds.
    pub fn lag_seconds(&self, now: UnixMs) -> f64 {
        now.0.saturating_sub(self.as_of.0) as f64 / 1000.0
    }
}

/// Exports until the process ends. `job` answers what is configured now.
pub fn serve(store: &Path, health: &Arc<ExportHealth>, job: impl Fn() -> Option<ExportJob>) {
    let mut last: Option<(ExportJob, UnixMs)> = None;
    loop {
        let now = clock::unix();
        match job() {
            None => {
                *health.0.lock() = None;
                last = None;
            }
            Some(job) if is_due(last.as_ref(), &job, health, now) => {
                if last.as_ref().is_some_and(|(before, _)| before.target != job.target) {
                    *health.0.lock() = None;
                }
                health.began(now);
                health.ended(now, run(store, &job, now));
                tell(&job, health);
                last = Some((job, now));
            }
            Some(_) => {}
        }
        thread::sleep(LOOK);
    }
}

/// The first run comes at once, and so does one of another configuration.
fn is_due(last: Option<&(ExportJob, UnixMs)>, job: &ExportJob, health: &ExportHealth, now: UnixMs) -> bool {
    let Some((before, began)) = last else { return true };
    let failed = health.state().is_some_and(|status| status.error.is_some());
    let interval = if failed { job.interval.min(RETRY_INTERVAL) } else { job.interval };
    // A clock that went back must not stop the export until it is where it was.
    let since = now.0.abs_diff(began.0);
    before != job || u128::from(since) >= interval.as_millis()
}

fn run(store: &Path, job: &ExportJob, now: UnixMs) -> Result<Exported, String> {
    let options = ExportOptions {
        store: store.into(),
        target: job.target.clone(),
        format: job.format,
        since: None,
        until: None,
        part_records_max: job.part_records_max,
        now,
    };
    // A bug of a library must cost a run, not the export.
    let done = catch_unwind(AssertUnwindSafe(|| export(&options, &mut |_| ())));
    let panicked = || Err(AuditError::Other("the export panicked; the log says where".into()));
    done.unwrap_or_else(|_| panicked()).map_err(|error| error.to_string())
}

fn tell(job: &ExportJob, health: &ExportHealth) {
    let Some(status) = health.state() else { return };
    match &status.error {
        Some(error) => tracing::error!(destination = %job.target, failures = status.failures, "export failed: {error}"),
        None => tracing::debug!(destination = %job.target, records = status.records, "exported"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(seconds: u64) -> ExportJob {
        let interval = Duration::from_secs(seconds);
        ExportJob { target: Target::Directory("x".into()), format: Format::Jsonl, interval, part_records_max: 1 }
    }

    #[test]
    fn a_failed_run_waits_for_a_long_interval_or_a_clock_set_back_for_ever() {
        let health = ExportHealth::default();
        let due = |last: Option<(u64, u64)>, job: &ExportJob, now: u64| {
            let last = last.map(|(interval, at)| (self::job(interval), UnixMs(at)));
            is_due(last.as_ref(), job, &health, UnixMs(now))
        };
        let hourly = job(3600);
        assert!(due(None, &hourly, 5));
        assert!(!due(Some((3600, 0)), &hourly, 3_599_000) && due(Some((3600, 0)), &hourly, 3_600_000));
        assert!(due(Some((60, 0)), &hourly, 1), "another configuration");
        assert!(due(Some((3600, 9_000_000)), &hourly, 0), "the clock went back");
        health.began(UnixMs(1));
        health.ended(UnixMs(1), Err("é".repeat(ERROR_BYTES_MAX)));
        assert_eq!(health.state().unwrap().error.unwrap().len(), ERROR_BYTES_MAX);
        assert!(due(Some((3600, 0)), &hourly, 60_000) && !due(Some((3600, 0)), &hourly, 59_000));
        health.ended(UnixMs(7000), Ok(Exported { records: 3, ..Exported::default() }));
        let status = health.state().unwrap();
        assert_eq!((status.records, status.failures, status.error.as_deref()), (3, 1, None));
        assert!((status.lag_seconds(UnixMs(9500)) - 2.5).abs() < 1e-9);
    }
}
