//! Plots as SVG text: bars and lines, nothing that a browser would have to load.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 12.0;
const COLOURS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b"];

/// One line of a plot: its name and its points.
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Points in the plot's own units, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// How an axis is marked.
pub struct Axis {
    /// What it shows, with the unit.
    pub title: &'static str,
    /// Marks: place and text.
    pub marks: Vec<(f64, String)>,
}

fn open(out: &mut String) {
    let _ = write!(out, r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">"#);
}

/// Bars side by side, one for each name, and a line at 1 if `unit_line`.
pub fn bars(values: &[(String, f64)], unit_line: bool) -> String {
    let most = values.iter().map(|(_, value)| *value).fold(if unit_line { 1.0 } else { 0.0 }, f64::max).max(1e-9);
    let step = (WIDTH - LEFT - 10.0) / values.len().max(1) as f64;
    let y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP - 14.0);
    let mut out = String::new();
    open(&mut out);
    for (place, (name, value)) in values.iter().enumerate() {
        let (x, top) = (LEFT + step * place as f64, y(*value));
        let (middle, colour) = (x + step / 2.0, COLOURS[place % COLOURS.len()]);
        let _ = write!(
            out,
            r#"<rect x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/><text x="{middle:.1}" y="{:.1}" text-anchor="middle">{value:.2}</text><text x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x + step * 0.15,
            step * 0.7,
            (HEIGHT - BOTTOM - top).max(0.0),
            top - 4.0,
            HEIGHT - BOTTOM + 16.0,
            escape(name),
        );
    }
    if unit_line {
        let _ = write!(
            out,
            r##"<line x1="{LEFT}" x2="{WIDTH}" y1="{0:.1}" y2="{0:.1}" stroke="#888" stroke-dasharray="4 3"/>"##,
            y(1.0)
        );
    }
    out.push_str("</svg>");
    out
}

/// Lines over common axes, with a legend. The y axis begins at zero, or is logarithmic.
pub fn lines(lines: &[Line], x_axis: &Axis, y_title: &str, logarithmic: bool) -> String {
    let scale = |value: f64| if logarithmic { value.max(1.0).log10() } else { value };
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_most = points().map(|point| point.0).fold(1e-9, f64::max);
    let y_most = points().map(|point| scale(point.1)).fold(1e-9, f64::max);
    let x = |value: f64| LEFT + value / x_most * (WIDTH - LEFT - 20.0);
    let y = |value: f64| HEIGHT - BOTTOM - scale(value) / y_most * (HEIGHT - BOTTOM - TOP);
    let mut out = String::new();
    open(&mut out);
    let marks: Vec<f64> = if logarithmic {
        (0..=y_most.ceil() as i32).map(|power| 10f64.powi(power)).collect()
    } else {
        (0..=4).map(|quarter| y_most * f64::from(quarter) / 4.0).collect()
    };
    for mark in marks.into_iter().filter(|mark| scale(*mark) <= y_most) {
        let _ = write!(
            out,
            r##"<line x1="{LEFT}" x2="{WIDTH}" y1="{0:.1}" y2="{0:.1}" stroke="#ddd"/><text x="{1:.1}" y="{2:.1}" text-anchor="end">{3}</text>"##,
            y(mark),
            LEFT - 6.0,
            y(mark) + 4.0,
            short(mark)
        );
    }
    for (place, text) in &x_axis.marks {
        let _ = write!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x(*place),
            HEIGHT - BOTTOM + 16.0,
            escape(text)
        );
    }
    for (place, line) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let drawn: Vec<String> =
            line.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let legend = TOP + 14.0 * (place as f64 + 1.0);
        let _ = write!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/><text x="{:.1}" y="{legend:.1}" fill="{colour}">{}</text>"#,
            drawn.join(" "),
            LEFT + 10.0,
            escape(&line.name)
        );
    }
    let _ = write!(
        out,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><text x="4" y="{TOP}">{}</text></svg>"#,
        WIDTH - 4.0,
        HEIGHT - 4.0,
        escape(x_axis.title),
        escape(y_title)
    );
    out
}

/// A number as a mark shows it.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.0}M", v / 1e6),
        v if v >= 1e3 => format!("{:.0}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_of_nothing_or_of_one_point_is_broken() {
        let axis = || Axis { title: "x", marks: Vec::new() };
        for points in [vec![], vec![(0.0, 0.0)], vec![(1.0, 5.0), (2.0, 7.0)]] {
            for logarithmic in [false, true] {
                let svg = lines(&[Line { name: "a<b".into(), points: points.clone() }], &axis(), "y", logarithmic);
                assert!(
                    svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("a<b")
                );
            }
        }
        assert!(!bars(&[], true).contains("NaN"));
        assert!(bars(&[("weir".into(), 0.8)], true).contains("0.80"));
    }
}
