//! One source file as the rules see it: its text, and the same text with comments and literals blanked out, so that a
//! word in a comment or a planted violation in a string is never taken for code.

use std::fs;
use std::path::Path;

/// A file of the tree and what of it is code.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// `text` with comments and the insides of literals replaced by spaces; same lines, same columns (in characters).
    pub code: String,
}

/// A rule that a line breaks.
#[derive(Debug)]
pub struct Violation {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub what: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// The lines of code, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub fn violation(&self, line: usize, what: String) -> Violation {
        Violation { path: self.path.clone(), line, what }
    }

    /// Whether the whole file is a test: `tests.rs`, or anything below a folder of that name.
    pub fn is_test_file(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// For each line whether it belongs to an item marked `#[cfg(test)]`.
    pub fn test_lines(&self) -> Vec<bool> {
        let code: Vec<char> = self.code.chars().collect();
        let mut marked = vec![self.is_test_file(); self.code.lines().count() + 1];
        for (line, text) in self.lines() {
            if !text.trim_start().starts_with("#[cfg(test)]") {
                continue;
            }
            let after = char_offset(&self.code, line) + text.find(']').map_or(0, |at| at + 1);
            let end = item_end(&code, after).unwrap_or(code.len() - 1);
            let last = line_of(&code, end);
            marked[line..=last].fill(true);
        }
        marked
    }
}

/// All `.rs` files below the given folders of `root`, in order of path. A folder that is not there yet has none.
pub fn read_tree(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let rust = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        Source::new(&name, &fs::read_to_string(path).expect("a source file is UTF-8 text"))
    })
    .collect()
}

/// All files and folders of the repository but git's own and what a build makes; folders end in `/`.
pub fn read_paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        let folders = name.match_indices('/').map(|(at, _)| name[..=at].to_owned());
        names.extend(folders);
        names.push(name);
    }
    names.sort();
    names.dedup();
    names
}

fn collect(folder: &Path, paths: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            // A cache directory says so itself: cargo's target folder is one, wherever it lies.
            let made = path.ends_with(".git") || path.ends_with("node_modules") || path.join("CACHEDIR.TAG").exists();
            if !made {
                collect(&path, paths);
            }
        } else {
            paths.push(path);
        }
    }
}

/// The 1-based line that the character at `at` stands on.
pub fn line_of(code: &[char], at: usize) -> usize {
    1 + code[..at].iter().filter(|c| **c == '\n').count()
}

/// Where the item that starts at `from` ends: its closing brace, or its `;` if that comes first. `None` if neither comes.
pub fn item_end(code: &[char], from: usize) -> Option<usize> {
    let mut nesting = 0i32;
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            ';' if nesting == 0 => return Some(at),
            '{' if nesting == 0 => return closing_brace(code, at),
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`.
pub fn closing_brace(code: &[char], open: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Every place in `text` where `word` stands with no identifier character on either side, as byte offsets.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back().is_some_and(is_part);
        let after = text[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

fn char_offset(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line - 1).map(|text| text.chars().count()).sum()
}

/// Replaces comments and the insides of string, byte and character literals by spaces, keeping every newline.
fn blank(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut code = source.clone();
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            '/' if source.get(at + 1) == Some(&'/') => line_end(&source, at),
            '/' if source.get(at + 1) == Some(&'*') => comment_end(&source, at),
            'r' if !in_word(&source, at) => raw_end(&source, at).unwrap_or(at),
            '"' => quoted_end(&source, at, '"'),
            '\'' if is_character(&source, at) => quoted_end(&source, at, '\''),
            _ => at,
        };
        for c in &mut code[at..end] {
            if !matches!(*c, '\n' | '"') {
                *c = ' ';
            }
        }
        at = end.max(at + 1);
    }
    code.into_iter().collect()
}

fn in_word(source: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|at| source[at]);
    match before(1) {
        // `br"..."` is a raw byte string, not a word that ends in r.
        Some('b' | 'c') => before(2).is_some_and(|c| c.is_alphanumeric() || c == '_'),
        Some(c) => c.is_alphanumeric() || c == '_',
        None => false,
    }
}

fn line_end(source: &[char], at: usize) -> usize {
    source[at..].iter().position(|c| *c == '\n').map_or(source.len(), |length| at + length)
}

fn comment_end(source: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at + 1 < source.len() {
        match (source[at], source[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    source.len()
}

/// The end of the raw string that starts with the `r` at `at`, if one does.
fn raw_end(source: &[char], at: usize) -> Option<usize> {
    let hashes = source[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if source.get(open) != Some(&'"') {
        return None;
    }
    let closes = |quote: usize| {
        source[quote] == '"' && source[quote + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (open + 1..source.len()).find(|quote| closes(*quote)).map(|quote| quote + 1 + hashes)
}

fn quoted_end(source: &[char], open: usize, quote: char) -> usize {
    let mut at = open + 1;
    while at < source.len() && source[at] != quote {
        at += if source[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(source.len())
}

/// Whether the `'` at `at` opens a character literal and not a lifetime.
fn is_character(source: &[char], at: usize) -> bool {
    source.get(at + 1) == Some(&'\\') || source.get(at + 2) == Some(&'\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_literals_are_not_code() {
        let text = "let a = \"x \\\" y\"; // x\nlet b = r#\"x \"y\"#; /* x /* y */ x */ let c = 'x'; f::<'static>(br\"x\", '\\'');";
        let code = Source::new("src/a.rs", text).code;
        assert!(!code.contains('x') && !code.contains('y'), "{code}");
        assert!(code.contains("let c") && code.contains("f::<'static>("), "{code}");
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn an_item_under_cfg_test_ends_at_its_brace() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n";
        let marked = Source::new("src/a.rs", text).test_lines();
        let lines: Vec<usize> = (1..=9).filter(|line| marked[*line]).collect();
        assert_eq!(lines, [2, 3, 4, 5, 7, 8]);
    }
}
