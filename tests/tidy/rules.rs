//! The rules that need no more than one file at a time.

use super::source::{Source, Violation, item_end, line_of, words};

/// Longest file, in lines, tests included.
pub const FILE_LINES_MAX: usize = 500;
/// Longest function, in lines from its `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Folders that a request's bytes walk through: a panic there ends a stranger's stream.
const REQUEST_PATH: [&str; 6] = ["src/data/", "src/wire/", "src/dialect/", "src/kernel/", "src/link/", "src/sys/"];
const PANICS: [&str; 5] = [".unwrap()", ".expect(", "todo!", "unimplemented!", "panic!"];

/// Folders without I/O, clock or `async`.
const PURE: [&str; 3] = ["src/kernel/", "src/wire/", "src/dialect/"];
const IMPURE: [&str; 14] = [
    ".await",
    "async fn",
    "async move",
    "monoio::",
    "tokio::",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
];

pub fn file_length(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines, {FILE_LINES_MAX} allowed; one file has one job, split it by noun");
    vec![source.violation(FILE_LINES_MAX + 1, what)]
}

pub fn function_length(source: &Source) -> Vec<Violation> {
    let code: Vec<char> = source.code.chars().collect();
    let mut found = Vec::new();
    for (line, name, start) in functions(source, &code) {
        let Some(end) = item_end(&code, start) else { continue };
        let lines = line_of(&code, end) + 1 - line;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("fn {name} has {lines} lines, {FUNCTION_LINES_MAX} allowed; give its steps names");
            found.push(source.violation(line, what));
        }
    }
    found
}

/// Line, name and the offset behind the name of each function.
fn functions(source: &Source, code: &[char]) -> Vec<(usize, String, usize)> {
    let mut offset = 0;
    let mut found = Vec::new();
    for (line, text) in source.lines() {
        for at in words(text, "fn") {
            let name: String =
                text[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // `fn(u8)` is a type.
            if !name.is_empty() {
                found.push((line, name, offset + text[..at].chars().count() + 2));
            }
        }
        offset += text.chars().count() + 1;
    }
    debug_assert!(offset <= code.len() + 1, "lines and characters are counted alike");
    found
}

pub fn unsafe_outside_sys(source: &Source) -> Vec<Violation> {
    if source.path.starts_with("src/sys/") || source.path == "src/sys.rs" {
        return Vec::new();
    }
    let what = "`unsafe` outside src/sys; put the call behind an owner type there, with its SAFETY note";
    let lines = source.lines().filter(|(_, text)| words(text, "unsafe").next().is_some());
    lines.map(|(line, _)| source.violation(line, what.to_owned())).collect()
}

pub fn ignored_without_reason(source: &Source) -> Vec<Violation> {
    let what = "a test ignored without a reason is a hidden defect; mend it, or write #[ignore = \"why\"]";
    let is_bare = |line: usize, code: &str| {
        let attribute = code.trim_start().starts_with("#[") && words(code, "ignore").next().is_some();
        let text = source.text.lines().nth(line - 1).unwrap_or_default();
        let reason = text.split_once("ignore = \"").and_then(|(_, rest)| rest.split('"').next());
        attribute && reason.is_none_or(|reason| reason.trim().is_empty())
    };
    let lines = source.lines().filter(|(line, code)| is_bare(*line, code));
    lines.map(|(line, _)| source.violation(line, what.to_owned())).collect()
}

pub fn panic_on_request_path(source: &Source) -> Vec<Violation> {
    outside_tests(source, &REQUEST_PATH, &PANICS, |found| {
        format!(
            "`{found}` on the request path ends a stranger's stream; return a fault, or match the case that cannot be"
        )
    })
}

pub fn impure(source: &Source) -> Vec<Violation> {
    outside_tests(source, &PURE, &IMPURE, |found| {
        format!("`{found}` in a pure plane (no I/O, no clock, no async); take bytes and `now` as arguments")
    })
}

/// Lines of the folders that contain one of the texts and are not test code.
fn outside_tests(source: &Source, folders: &[&str], texts: &[&str], what: impl Fn(&str) -> String) -> Vec<Violation> {
    if !folders.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let tests = source.test_lines();
    let mut found = Vec::new();
    for (line, code) in source.lines().filter(|(line, _)| !tests[*line]) {
        let hits = texts.iter().filter(|text| contains_whole(code, text));
        found.extend(hits.map(|text| source.violation(line, what(text))));
    }
    found
}

/// Whether `text` stands in `code` as whole words (`debug_panic!` is not `panic!`, `.awaiting` is not `.await`).
fn contains_whole(code: &str, text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(text).any(|(at, _)| {
        let longer_before = text.starts_with(is_part) && code[..at].ends_with(is_part);
        let longer_after = text.ends_with(is_part) && code[at + text.len()..].starts_with(is_part);
        !longer_before && !longer_after
    })
}
