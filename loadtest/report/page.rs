//! The page: tables, bars of CPU time, curves of latency, memory over open streams.

use super::{
    Comparison, Parts,
    plot::{Axis, Line, bars, escape, lines},
};
use crate::loadtest::{compare::Row, generator::workload::WORKLOADS, soak::Soak, streams::StreamsRow, targets};
use std::fmt::Write as _;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1320px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
    td:first-child,th:first-child{text-align:left}svg text{font:12px system-ui,sans-serif}\
    .pair{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}figcaption{color:#555}";

/// The whole page.
pub(super) fn html(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>weir: measurement of {at}</title>\
         <style>{STYLE}</style><h1>weir beside other gateways</h1><p>{at} · weir {weir} · {machine}<br><code>{command}</code></p>\
         <p>CPU time is the kernel's account of all threads of the gateway. Ratios are of one run on one provider; absolute \
         figures mean nothing elsewhere.</p>",
        at = escape(&comparison.at),
        weir = escape(&comparison.weir),
        machine = escape(&comparison.machine),
        command = escape(&comparison.command),
    );
    if !comparison.targets.is_empty() {
        out.push_str("<h2>What is promised</h2>");
        out.push_str(&targets::html(&comparison.targets));
    }
    for part in comparison.parts.rows.chunk_by(|a, b| a.workload == b.workload) {
        workload(&mut out, part);
    }
    memory(&mut out, &comparison.parts);
    over_streams(&mut out, &comparison.parts);
    late(&mut out, &comparison.parts);
    if let Some(soak) = &comparison.parts.soak {
        over_time(&mut out, soak);
    }
    out.push_str("</html>\n");
    out
}

fn workload(out: &mut String, rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    let what = WORKLOADS.iter().find(|(name, _)| *name == first.workload).map_or("", |(_, what)| what);
    let _ = write!(
        out,
        "<h2>{}</h2><p>{}</p><table><tr><th>gateway<th>CPU µs/request<th>CPU µs/event<th>ratio<th>requests/s<th>p50 µs\
         <th>p99 µs<th>first byte p99 µs<th>errors</tr>",
        escape(&first.workload),
        escape(what)
    );
    for row in rows {
        let m = &row.median;
        let _ = write!(
            out,
            "<tr><td>{}<td>{:.2}<td>{:.2}<td>{:.3}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{}</tr>",
            escape(&row.gateway),
            m.cpu_us_per_request,
            m.cpu_us_per_event,
            row.ratio,
            m.requests_per_s,
            m.p50_us,
            m.p99_us,
            m.first_byte_p99_us,
            m.errors
        );
    }
    let ratios: Vec<(String, f64)> = rows.iter().map(|row| (row.gateway.clone(), row.ratio)).collect();
    let curves: Vec<Line> = rows.iter().map(curve).collect();
    let marks = [0.5, 0.9, 0.99, 0.999, 0.9999].map(|share| (nines(share), format!("{}%", share * 100.0)));
    let axis = Axis { title: "share of requests", marks: marks.into() };
    let _ = write!(
        out,
        "</table><div class=\"pair\"><figure>{}<figcaption>CPU time per request, relative to {}</figcaption></figure>\
         <figure>{}<figcaption>time to the last byte</figcaption></figure></div>",
        bars(&ratios, true),
        escape(&first.gateway),
        lines(&curves, &axis, "µs", true)
    );
}

fn curve(row: &Row) -> Line {
    let points = row.latency_curve.iter().map(|(share, us)| (nines(*share), *us as f64)).collect();
    Line { name: row.gateway.clone(), points }
}

/// Where a share stands on an axis on which each further nine is as wide as the one before.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-5).log10()
}

fn memory(out: &mut String, parts: &Parts) {
    if parts.idle.is_empty() {
        return;
    }
    out.push_str(
        "<h2>open streams that say nothing</h2><table><tr><th>gateway<th>streams<th>memory MiB<th>KiB/stream<th>errors</tr>",
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for row in &parts.idle {
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{:.1}<td>{:.1}<td>{}</tr>",
            escape(&row.gateway),
            row.streams,
            mib(row.memory_bytes),
            row.bytes_per_stream / 1024.0,
            row.errors
        );
    }
    let of_one = |rows: &[crate::loadtest::idle::IdleRow]| Line {
        name: rows.first().map_or_else(String::new, |row| row.gateway.clone()),
        points: rows.iter().map(|row| (row.streams as f64, mib(row.memory_bytes))).collect(),
    };
    let curves: Vec<Line> = parts.idle.chunk_by(|a, b| a.gateway == b.gateway).map(of_one).collect();
    let mut counts: Vec<usize> = parts.idle.iter().map(|row| row.streams).collect();
    counts.sort_unstable();
    counts.dedup();
    let marks = counts.into_iter().map(|count| (count as f64, count.to_string())).collect();
    let axis = Axis { title: "open streams", marks };
    let _ = write!(out, "</table><figure>{}</figure>", lines(&curves, &axis, "MiB", false));
}

fn over_streams(out: &mut String, parts: &Parts) {
    if parts.streams.is_empty() {
        return;
    }
    out.push_str(
        "<h2>An event among few streams and many</h2><p>The same number of events a second, spread over more and more streams.</p>\
         <table><tr><th>gateway<th>streams<th>CPU µs/event<th>events/s</tr>",
    );
    for row in &parts.streams {
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{:.2}<td>{:.0}</tr>",
            escape(&row.gateway),
            row.streams,
            row.cpu_us_per_event,
            row.events_per_s
        );
    }
    let of_one = |rows: &[StreamsRow]| Line {
        name: rows.first().map_or_else(String::new, |row| row.gateway.clone()),
        points: rows.iter().map(|row| ((row.streams as f64).log10(), row.cpu_us_per_event)).collect(),
    };
    let curves: Vec<Line> = parts.streams.chunk_by(|a, b| a.gateway == b.gateway).map(of_one).collect();
    let marks = parts.streams.iter().map(|row| ((row.streams as f64).log10(), row.streams.to_string())).collect();
    let axis = Axis { title: "open streams", marks };
    let _ = write!(out, "</table><figure>{}</figure>", lines(&curves, &axis, "µs of CPU an event", false));
}

fn late(out: &mut String, parts: &Parts) {
    if parts.delays.is_empty() {
        return;
    }
    out.push_str(
        "<h2>How late an event comes</h2><table><tr><th>through<th>uploads beside<th>p50 µs<th>p90 µs<th>p99 µs<th>max µs<th>events</tr>",
    );
    for row in &parts.delays {
        let q = &row.delay_us;
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(&row.through),
            if row.uploads { "yes" } else { "no" },
            q.p50,
            q.p90,
            q.p99,
            q.max,
            row.events
        );
    }
    out.push_str("</table>");
}

fn over_time(out: &mut String, soak: &Soak) {
    let points =
        soak.samples.iter().map(|(seconds, bytes)| (seconds / 60.0, *bytes as f64 / f64::from(1 << 20))).collect();
    let minutes = soak.samples.last().map_or(1.0, |(seconds, _)| seconds / 60.0);
    let marks = (0..=4).map(|quarter| minutes * f64::from(quarter) / 4.0).map(|at| (at, format!("{at:.0}"))).collect();
    let axis = Axis { title: "minutes", marks };
    let _ = write!(
        out,
        "<h2>Memory over time</h2><p>{} requests, {} errors; {:.2} MiB an hour after the first quarter</p><figure>{}</figure>",
        soak.requests,
        soak.errors,
        soak.mib_per_hour,
        lines(&[Line { name: "weir".into(), points }], &axis, "MiB", false)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::{compare::Sample, idle::IdleRow};

    #[test]
    fn a_page_loads_something_or_leaves_a_gateway_out() {
        let row = |gateway: &str, ratio| Row {
            workload: "unary".into(),
            gateway: gateway.into(),
            median: Sample::default(),
            ratio,
            samples: Vec::new(),
            latency_curve: vec![(0.5, 100), (0.99, 900), (1.0, 1000)],
        };
        let idle =
            IdleRow { gateway: "weir".into(), streams: 5000, memory_bytes: 1 << 27, bytes_per_stream: 2e4, errors: 0 };
        let rows = vec![row("nginx", 1.0), row("weir", 0.84)];
        let idle = vec![IdleRow { streams: 0, ..idle.clone() }, idle];
        let soak = Soak { samples: vec![(0.0, 1 << 20), (60.0, 1 << 20)], ..Soak::default() };
        let streams = vec![StreamsRow { gateway: "weir".into(), streams: 10, ..StreamsRow::default() }];
        let page = html(&Comparison::new(Parts { rows, idle, streams, soak: Some(soak), ..Parts::default() }));
        for part in ["nginx", "0.84", "5000", "2 KB up", "<polyline", "MISSED", "Memory over time"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    }

    #[test]
    fn the_last_nine_is_endless() {
        assert!(nines(0.9) < nines(0.99) && nines(1.0).is_finite());
    }
}
