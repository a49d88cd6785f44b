//! One request in both books.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use weir::loadtest::provider::{BilledUsage, Entry, Outcome};

use crate::fleet::{bill, nanos, usage_of};
use crate::plan::Plan;
use crate::swarm::Got;

/// Disagreements that are told in full.
const TOLD_MAX: usize = 5;

/// A request that was sent.
pub struct Case<'a> {
    pub plan: &'a Plan,
    pub got: &'a Got,
    /// If the gateway was killed under it: up to when everything was on disk.
    pub covered: Option<Timestamp>,
}

/// Both books, by what names a request in each.
pub struct Side<'a> {
    records: HashMap<&'a str, Vec<&'a Value>>,
    entries: HashMap<&'a str, Vec<&'a Entry>>,
}

impl<'a> Side<'a> {
    pub fn new(records: &'a [Value], entries: &'a [Entry]) -> Side<'a> {
        let mut side = Side { records: HashMap::new(), entries: HashMap::new() };
        for record in records {
            side.records.entry(record["session"].as_str().unwrap_or_default()).or_default().push(record);
        }
        for entry in entries {
            let script = entry.headers.get("anthropic-sim").map(String::as_str).unwrap_or_default();
            side.entries.entry(script).or_default().push(entry);
        }
        side
    }
}

/// What the comparison of a round came to.
#[derive(Default)]
pub struct Found {
    /// Closed at the restart, since they were in flight at the kill.
    pub crashed: usize,
    /// Whose counts are marked as weir's own.
    pub estimated: usize,
    /// Whose counts are the provider's.
    pub reported: usize,
    /// Without a record: they began after everything that was on disk at the kill, and went with the process.
    pub unflushed: usize,
    /// Tokens, prompt and output, by which weir's estimates differ from the provider's counts.
    pub apart: u64,
    /// One text for each request on which the books disagree.
    pub wrong: Vec<String>,
}

impl Found {
    pub fn told(&self) -> String {
        let more = self.wrong.len().saturating_sub(TOLD_MAX);
        let told = self.wrong.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("\n");
        if more > 0 { format!("{told}\n… and {more} more") } else { told }
    }
}

/// Compares each request in both books.
pub fn reconcile<'a>(cases: impl Iterator<Item = Case<'a>>, side: &Side<'_>) -> Found {
    let mut found = Found::default();
    for case in cases {
        let records = side.records.get(case.plan.session.as_str()).map_or(&[][..], Vec::as_slice);
        let entries = side.entries.get(case.plan.sim.as_str()).map_or(&[][..], Vec::as_slice);
        let wrong = match records {
            [] => {
                found.unflushed += 1;
                missing(&case, entries)
            }
            [record] => {
                found.crashed += usize::from(record["refused_by"] == "crash");
                found.estimated += usize::from(record["usage_source"] == "estimated");
                found.reported += usize::from(record["usage_source"] == "reported");
                if record["usage_source"] == "estimated" {
                    found.apart += apart(&usage_of(record), entries);
                }
                compared(&case, record, entries)
            }
            _ => Some("one request, several records".to_owned()),
        };
        found.wrong.extend(wrong.map(|why| explained(&why, &case, records, entries)));
    }
    found
}

/// By how many tokens an estimate misses what the provider bills.
fn apart(used: &BilledUsage, entries: &[&Entry]) -> u64 {
    let tokens = |usage: &BilledUsage| {
        [usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h, usage.output]
    };
    let mut billed = BilledUsage::default();
    entries.iter().for_each(|entry| billed.add(&entry.usage));
    tokens(used).iter().zip(tokens(&billed)).map(|(ours, theirs)| ours.abs_diff(theirs)).sum()
}

/// No record: only what began after everything else was on disk may have gone with the process.
fn missing(case: &Case<'_>, entries: &[&Entry]) -> Option<String> {
    let Some(covered) = case.covered else { return Some("no record, and nothing was killed".into()) };
    let covered_ms = covered.as_millisecond();
    let early = entries.iter().find(|entry| (entry.started_unix_ms as i64) < covered_ms)?;
    let ago = covered_ms - early.started_unix_ms as i64;
    Some(format!("no record, though it reached the provider {ago} ms before the last moment known to be on disk"))
}

/// One record: its counts are the provider's, or they are marked.
fn compared(case: &Case<'_>, record: &Value, entries: &[&Entry]) -> Option<String> {
    let (used, source) = (usage_of(record), record["usage_source"].as_str().unwrap_or_default());
    let whole = |entry: &&&Entry| entry.outcome == Outcome::Completed && (200..300).contains(&entry.status);
    if entries.iter().filter(whole).count() > 1 {
        return Some("the provider answered it twice".into());
    }
    let crash = record["refused_by"] == "crash";
    let attempts = record["attempts"].as_array().map_or(0, Vec::len);
    // A kept connection that dies before the first byte of an answer is replaced under the same attempt.
    let answered = entries.iter().filter(|entry| entry.status != 0 || entry.usage != BilledUsage::default()).count();
    if !crash && answered > attempts {
        return Some(format!("{answered} answers of the provider, {attempts} attempts of weir's"));
    }
    let model = if case.plan.alice { crate::fleet::SONNET } else { crate::fleet::HAIKU };
    if nanos(&record["cost_usd"]) != bill(model, &used) && source == "reported" {
        return Some(format!("the cost is not that of its tokens, {} nano-dollars", bill(model, &used)));
    }
    if crash && source != "estimated" {
        return Some("cut short by the kill and not marked estimated".into());
    }
    match source {
        "reported" => {
            let theirs = entries.iter().find(|entry| record["upstream_request_id"] == entry.request_id.as_str());
            let same = theirs.is_some_and(|entry| entry.usage == used);
            (!same).then(|| "marked reported, and not what the provider says".into())
        }
        "estimated" => {
            // A stream that the provider itself ends with an error arrives whole, and never tells its last counts.
            let completed = record["outcome"] == "completed" && entries.iter().any(|entry| whole(&entry));
            completed.then(|| "completed on both sides, and still only estimated".into())
        }
        _ => {
            let billed = entries.iter().find(|entry| entry.usage != BilledUsage::default());
            let billed = billed.map(|_| "not marked estimated, and the provider bills for it".to_owned());
            let free = used == BilledUsage::default() && nanos(&record["cost_usd"]) == 0;
            billed.or_else(|| (!free).then(|| "has a cost and no source".into()))
        }
    }
    .or_else(|| client_agrees(case, record, crash))
}

/// Who has the provider's last word was served, in weir's books too.
fn client_agrees(case: &Case<'_>, record: &Value, crash: bool) -> Option<String> {
    // A stream that breaks upstream is given an end of weir's own, with an error event.
    let last_word = !case.plan.stream || memchr::memmem::find(&case.got.body, b"message_stop").is_some();
    let served = case.got.whole && case.got.status == 200 && last_word;
    let agrees = !served || crash || record["outcome"] == "completed" && record["usage_source"] == "reported";
    (!agrees).then(|| "the caller has the whole answer, and the record does not say so".into())
}

fn explained(why: &str, case: &Case<'_>, records: &[&Value], entries: &[&Entry]) -> String {
    let Plan { session, sim, stream, leave, .. } = case.plan;
    let mut text = format!("{session}: {why}\n  asked    {sim} stream={stream}; the caller leaves {leave:?}");
    text.push_str(&format!("\n  caller   status {}, whole: {}", case.got.status, case.got.whole));
    for record in records {
        text.push_str(&format!(
            "\n  weir     {} {} by {}, usage {} {:?}, cost {}, attempts {}",
            record["request_id"],
            record["outcome"],
            record["refused_by"],
            record["usage_source"],
            usage_of(record),
            record["cost_usd"],
            record["attempts"]
        ));
    }
    for entry in entries {
        text.push_str(&format!(
            "\n  provider {} {:?} status {}, {:?}",
            entry.request_id, entry.outcome, entry.status, entry.usage
        ));
    }
    text
}
