//! Bars beside a table: who spent how much of all of it, at a glance.

use clap::ValueEnum;
use std::io::IsTerminal;

/// Cells of a bar, at most: more says no more.
const CELLS_MAX: usize = 24;
/// With fewer than this a bar says nothing.
const CELLS_MIN: usize = 4;
/// What stands beside the bar in its column: ` 100%`, and the column's margin.
const BESIDE: usize = 7;
/// Eighths of a cell.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// When bars are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bars {
    /// On a terminal that has room for them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Bars {
    /// How many cells a bar may have beside a table of this width; `None` for no bars. `columns` is the terminal's width, if
    /// stdout is one.
    pub fn cells(self, table_columns: usize, columns: Option<usize>) -> Option<usize> {
        let room = |columns: usize| columns.saturating_sub(table_columns + BESIDE).min(CELLS_MAX);
        match (self, columns) {
            (Self::Never, _) | (Self::Auto, None) => None,
            (Self::Auto, Some(columns)) => Some(room(columns)).filter(|cells| *cells >= CELLS_MIN),
            (Self::Always, columns) => Some(columns.map_or(CELLS_MAX, room).max(CELLS_MIN)),
        }
    }
}

/// The width of the terminal that stdout is; `None` if it is none.
pub fn terminal_columns() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(told.or_else(crate::sys::terminal::columns).unwrap_or(80))
}

/// A bar for a part of a whole, and the part in percent.
pub fn bar(part: i64, whole: i64, cells: usize) -> String {
    if whole <= 0 || part <= 0 {
        return format!("{} {:>3}%", " ".repeat(cells), 0);
    }
    let share = part as f64 / whole as f64;
    // Something is never nothing: a share too small for a bar still shows its edge.
    let eighths = ((share * cells as f64 * 8.0).round() as usize).clamp(1, cells * 8);
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8]);
    }
    let blank = " ".repeat(cells.saturating_sub(text.chars().count()));
    format!("{text}{blank} {:>3.0}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_no_longer_than_its_column() {
        assert_eq!(bar(50, 100, 8), "████      50%");
        assert_eq!(bar(100, 100, 8), "████████ 100%");
        assert_eq!(bar(1, 1_000_000, 8), "▏          0%");
        assert_eq!(bar(55, 100, 10), "█████▌      55%");
        assert_eq!(bar(0, 100, 4), "       0%");
        assert_eq!(bar(5, 0, 4), "       0%");
        for part in 0..=1000 {
            assert_eq!(bar(part, 1000, 13).chars().count(), 18, "{part}");
        }
    }

    #[test]
    fn bars_stand_in_a_file_or_break_the_lines_of_a_narrow_terminal() {
        assert_eq!(Bars::Auto.cells(60, None), None);
        assert_eq!(Bars::Auto.cells(60, Some(70)), None);
        assert_eq!(Bars::Auto.cells(60, Some(80)), Some(13));
        assert_eq!(Bars::Auto.cells(60, Some(300)), Some(CELLS_MAX));
        assert_eq!(Bars::Never.cells(60, Some(300)), None);
        assert_eq!(Bars::Always.cells(60, None), Some(CELLS_MAX));
        assert_eq!(Bars::Always.cells(60, Some(20)), Some(CELLS_MIN));
    }
}
