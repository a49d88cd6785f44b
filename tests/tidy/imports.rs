//! Which plane may name which: the import rule of the floor plan.

use super::source::{Source, Violation, line_of};

/// A plane and the planes it may name besides itself. What is not in the table sees everything.
const PLANES: [(&str, &[&str]); 9] = [
    ("kernel", &[]),
    ("wire", &["kernel"]),
    ("dialect", &["kernel", "wire"]),
    ("sys", &["kernel"]),
    ("link", &["kernel"]),
    ("observe", &["kernel", "link"]),
    ("data", &["kernel", "dialect", "wire", "sys", "link", "observe"]),
    ("control", &["kernel", "dialect", "wire", "sys", "link", "observe"]),
    ("loadtest", &["kernel", "dialect", "wire"]),
];
/// What may see both planes: it puts them together.
const ABOVE_PLANES: [&str; 5] = ["lib", "main", "boot", "drain", "cli"];

pub fn forbidden_imports(source: &Source) -> Vec<Violation> {
    let Some(plane) = plane_of(&source.path) else { return Vec::new() };
    if ABOVE_PLANES.contains(&plane) {
        return Vec::new();
    }
    let Some((_, allowed)) = PLANES.iter().find(|(name, _)| *name == plane) else {
        let what = format!(
            "`{plane}` has no place on the floor plan; move it into a plane, or add it to tests/tidy/imports.rs"
        );
        return vec![source.violation(1, what)];
    };
    let code: Vec<char> = source.code.chars().collect();
    let mut found = Vec::new();
    for (at, name) in named_from_root(source, &code, plane) {
        if name == plane || allowed.contains(&name.as_str()) {
            continue;
        }
        let what = format!(
            "{plane} names `{name}`, it may name {}; pass the value in, or move the type down to kernel",
            if allowed.is_empty() { "only itself".to_owned() } else { format!("itself, {}", allowed.join(", ")) }
        );
        found.push(source.violation(line_of(&code, at), what));
    }
    found
}

/// The plane a file belongs to: its first folder below `src`, or `loadtest`. Tests and benches belong to none.
fn plane_of(path: &str) -> Option<&str> {
    let (first, rest) = path.split_once('/')?;
    match first {
        "src" => rest.split('/').next().map(|name| name.trim_end_matches(".rs")),
        "loadtest" => Some("loadtest"),
        _ => None,
    }
}

/// How many modules deep a file stands: `src/data/mod.rs` 1, `src/data/edge/head.rs` 3.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let folders = inside.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).count();
    folders.max(1)
}

/// Where and which top-level modules a file names: by `crate::x`, `weir::x`, groups of them, and `super::` chains that
/// climb out of the plane.
fn named_from_root(source: &Source, code: &[char], plane: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "weir"] {
        for at in path_starts(code, root) {
            found.extend(heads(code, at + root.len() + 2));
        }
    }
    for at in path_starts(code, "super") {
        let mut end = at;
        let mut climbed = 0;
        while starts_with(code, end, "super::") {
            (end, climbed) = (end + "super::".len(), climbed + 1);
        }
        if climbed >= depth(&source.path) {
            // Inside an inline module the chain may still end in the plane: only another plane's name convicts it.
            let is_plane = |name: &str| name != plane && PLANES.iter().any(|(known, _)| *known == name);
            found.extend(heads(code, end).into_iter().filter(|(_, name)| is_plane(name)));
        }
    }
    found
}

/// Offsets where a path starts with `root::` and the root is not itself the tail of a path or word.
fn path_starts<'a>(code: &'a [char], root: &'a str) -> impl Iterator<Item = usize> + 'a {
    (0..code.len()).filter(move |at| {
        let before = at.checked_sub(1).map(|at| code[at]);
        let fresh = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let absolute = *at >= 2 && code[at - 1] == ':' && code[at - 2] == ':' && root == "weir";
        (fresh || absolute) && starts_with(code, *at, root) && starts_with(code, at + root.len(), "::")
    })
}

fn starts_with(code: &[char], at: usize, text: &str) -> bool {
    text.chars().enumerate().all(|(index, c)| code.get(at + index) == Some(&c))
}

/// The first names of the path, or of each path of the group, that starts at `at`.
fn heads(code: &[char], at: usize) -> Vec<(usize, String)> {
    if code.get(at) != Some(&'{') {
        return head(code, at).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut nesting = 0;
    for (offset, c) in code.iter().enumerate().skip(at) {
        match c {
            '{' => nesting += 1,
            '}' => nesting -= 1,
            _ => {}
        }
        if nesting == 1 && matches!(c, '{' | ',') {
            let start = code[offset + 1..].iter().position(|c| !c.is_whitespace()).map(|skip| offset + 1 + skip);
            found.extend(start.and_then(|start| head(code, start)));
        }
        if nesting == 0 {
            break;
        }
    }
    found
}

fn head(code: &[char], at: usize) -> Option<(usize, String)> {
    let name: String = code[at..].iter().take_while(|c| c.is_alphanumeric() || matches!(**c, '_' | '*')).collect();
    (!name.is_empty()).then_some((at, name))
}
