//! `tests/CHECKLIST.md`: every row has its test, and every test that is named exists.

use super::source::Source;

/// Rows by letter, and how many there are of each.
const ROWS: [(char, usize); 8] = [('R', 15), ('S', 11), ('P', 12), ('B', 5), ('V', 2), ('F', 1), ('A', 1), ('X', 3)];

/// What is wrong with the table. `is_golden`: is there such a file?
pub fn faults(table: &str, sources: &[Source], is_golden: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wanted: Vec<String> =
        ROWS.iter().flat_map(|(letter, count)| (1..=*count).map(move |nth| format!("{letter}{nth}"))).collect();
    let mut found = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [row, _, held] = cells[..] else {
            found.push(format!("not a row of three cells: {line}"));
            continue;
        };
        match wanted.iter().position(|one| one == row) {
            Some(at) => drop(wanted.remove(at)),
            None => found.push(format!("{row}: unknown, or there twice")),
        }
        let mut tests = 0;
        for name in held.split(", ") {
            let golden = name.strip_prefix("golden: ");
            let exists = match golden {
                Some(file) => is_golden(file),
                None => is_test(name.trim_matches('`'), sources),
            };
            tests += usize::from(exists);
            if !exists {
                found.push(format!("{row}: {name} does not exist"));
            }
        }
        if tests == 0 {
            found.push(format!("{row}: has no test"));
        }
    }
    found.extend(wanted.iter().map(|row| format!("{row}: is missing")));
    found
}

/// Is there a test of that name?
fn is_test(name: &str, sources: &[Source]) -> bool {
    let defined = format!("fn {name}(");
    sources.iter().any(|source| {
        source.code.match_indices(&defined).any(|(at, _)| {
            let before = &source.code[..at];
            // Attributes stand between `#[test]` and the name.
            before.rsplit("\n\n").next().is_some_and(|item| item.contains("#[test]"))
        })
    })
}
