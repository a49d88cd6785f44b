//! What ARCHITECTURE.md may say: everything it names in backticks stands in the tree. The rule, span by span, is told in
//! the header of tests/tidy.rs.

use std::collections::HashSet;

use super::source::{Source, Violation, closing_brace, words};

/// Names of the language and its library that need no definition here.
const FOREIGN: [&str; 18] = [
    "Arc", "Box", "Clone", "Copy", "Debug", "Display", "Drop", "Duration", "From", "Future", "Instant", "Option", "Ok",
    "Result", "Send", "String", "Sync", "Vec",
];
const FOREIGN_CRATES: [&str; 3] = ["alloc", "core", "std"];

/// What the document may name.
pub struct Tree {
    /// Files and folders from the root of the repository; folders end in `/`.
    pub paths: Vec<String>,
    /// Names that the sources define, or import from std and dependencies.
    pub defined: HashSet<String>,
    /// Every word of the sources, comments and strings included, and of Cargo.toml.
    pub mentioned: HashSet<String>,
    /// Crates that Cargo.toml depends on, with `_`.
    pub crates: HashSet<String>,
}

impl Tree {
    pub fn new(paths: Vec<String>, sources: &[Source], manifest: &str) -> Self {
        let mut defined = HashSet::new();
        let mut mentioned: HashSet<String> = split_words(manifest);
        let keys =
            manifest.lines().filter_map(|line| line.split_once('=').map(|(key, _)| key.trim().replace('-', "_")));
        let crates: HashSet<String> = keys.collect();
        for source in sources {
            define(source, &mut defined);
            import(source, &crates, &mut defined);
            mentioned.extend(split_words(&source.text));
        }
        for path in paths.iter().filter(|path| path.starts_with("src/") || path.starts_with("loadtest/")) {
            let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            defined.insert(name.trim_end_matches(".rs").to_owned());
        }
        Self { paths, defined, mentioned, crates }
    }

    /// Why the span does not hold, or `None` if it does.
    fn broken(&self, span: &str) -> Option<String> {
        let bare = strip_generics(span);
        let name = bare.trim_end_matches("()").trim_end_matches('!');
        if self.is_path(&bare) {
            return (!self.has_path(&bare)).then(|| format!("no file or folder `{bare}`"));
        }
        let segments: Vec<&str> = name.split("::").collect();
        if !segments.iter().all(|segment| is_identifier(segment)) {
            return None;
        }
        if segments.len() > 1 {
            return self.broken_segments(&segments);
        }
        let camel = name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
        if camel || bare.ends_with("()") || bare.ends_with('!') {
            let known = self.defined.contains(name) || FOREIGN.contains(&name);
            return (!known).then(|| format!("nothing defines `{name}`"));
        }
        let compound = name.contains('_');
        (compound && !self.mentioned.contains(name)).then(|| format!("no source speaks of `{name}`"))
    }

    fn broken_segments(&self, segments: &[&str]) -> Option<String> {
        if FOREIGN_CRATES.contains(&segments[0]) || self.crates.contains(segments[0]) {
            return None;
        }
        let own = segments.iter().filter(|segment| !matches!(**segment, "crate" | "weir" | "self" | "super"));
        let missing = own.into_iter().find(|segment| !self.defined.contains(**segment))?;
        Some(format!("nothing defines `{missing}` of `{}`", segments.join("::")))
    }

    fn is_path(&self, span: &str) -> bool {
        let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./*".contains(c));
        if !plain || span.starts_with('/') {
            return false;
        }
        let Some((first, _)) = span.split_once('/') else {
            return [".rs", ".md", ".sh"].iter().any(|ending| span.ends_with(ending));
        };
        let in_tree = |folder: &str| self.paths.iter().any(|path| path == &format!("{folder}/"));
        span.ends_with('/') || span.ends_with(".rs") || in_tree(first) || in_tree(&format!("src/{first}"))
    }

    /// A path from the root, from `src`, or the tail of one: `data/edge/` and `edge/head.rs` stand for the same folder.
    fn has_path(&self, span: &str) -> bool {
        let span = span.trim_start_matches("./").trim_end_matches('*');
        let tail = format!("/{span}");
        let folder_tail = format!("/{}/", span.trim_end_matches('/'));
        self.paths.iter().any(|path| {
            let rooted = format!("/{path}");
            rooted.ends_with(&tail) || rooted.ends_with(&folder_tail)
        })
    }
}

/// All that the document names and the tree does not have.
pub fn stale_names(path: &str, text: &str, tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let broken: Vec<String> = if fenced {
            let names = line.split_whitespace().map(|name| name.trim_matches(|c| matches!(c, ',' | '(' | ')')));
            let paths = names.filter(|name| tree.is_path(name) && (name.ends_with('/') || name.ends_with(".rs")));
            paths.filter_map(|name| tree.broken(name)).collect()
        } else {
            line.split('`').skip(1).step_by(2).filter_map(|span| tree.broken(span)).collect()
        };
        found.extend(broken.into_iter().map(|why| Violation {
            path: path.to_owned(),
            line: index + 1,
            what: format!("{why}; name what is there now, or drop the sentence"),
        }));
    }
    found
}

fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `Secret<T>` names `Secret`; `parse(head, now)` names `parse()`.
fn strip_generics(span: &str) -> String {
    let mut kept = String::new();
    let mut depth = 0;
    for c in span.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    if span.ends_with(')') { format!("{kept}()") } else { kept }
}

fn split_words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect()
}

/// Adds what the source defines: items by their keyword, and the fields and variants inside structs and enums.
fn define(source: &Source, defined: &mut HashSet<String>) {
    const KEYWORDS: [&str; 10] =
        ["const", "enum", "fn", "macro_rules!", "mod", "static", "struct", "trait", "type", "union"];
    for keyword in KEYWORDS {
        for at in words(&source.code, keyword) {
            let after = source.code[at + keyword.len()..].trim_start().trim_start_matches("mut ");
            let name: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if matches!(keyword, "enum" | "struct" | "union") {
                define_members(after, defined);
            }
            defined.insert(name);
        }
    }
}

/// Adds the names that the source imports from std or a dependency.
fn import(source: &Source, crates: &HashSet<String>, defined: &mut HashSet<String>) {
    for at in words(&source.code, "use") {
        let path = source.code[at + 3..].split(';').next().unwrap_or_default().trim_start_matches([' ', ':']);
        let first = path.split("::").next().unwrap_or_default();
        if FOREIGN_CRATES.contains(&first) || crates.contains(first) {
            defined.extend(split_words(path));
        }
    }
}

fn define_members(item: &str, defined: &mut HashSet<String>) {
    let code: Vec<char> = item.chars().collect();
    let Some(open) = code.iter().position(|c| matches!(c, '{' | ';')) else { return };
    if code[open] == ';' {
        return;
    }
    let Some(close) = closing_brace(&code, open) else { return };
    let body: String = code[open + 1..close].iter().collect();
    for line in body.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").or_else(|| line.split_once("pub(").map(|(_, rest)| rest)).unwrap_or(line);
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            defined.insert(name);
        }
    }
}
