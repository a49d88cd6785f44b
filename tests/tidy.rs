//! Style is a test: what the floor plan and the house rules promise about the tree is read off the tree.
//!
//! Each rule is one test over `src`, `loadtest`, `tests` and `benches`; it reports `file:line: what and how to mend`.
//! Beside each stands a test that plants a violation and sees it caught.
//!
//! What ARCHITECTURE.md names must exist. Of its text in single backticks,
//! - a path (it starts in a folder of the tree or ends in `/` or `.rs`; without a slash, `.rs`, `.md` or `.sh`) must be a
//!   file or folder, from the root, from `src`, or as the tail of one; a path with a leading `/` is a URL and not looked at;
//! - `a::b`, `CamelCase`, `name()` and `name!` must be defined (item, field, variant or module), or come from std or from a
//!   dependency, which is seen by their path or by a `use` in the sources;
//! - `snake_case` and `UPPER_CASE` with an underscore must at least be spoken of in a source or in Cargo.toml;
//! - everything else (commands, requests, plain words) is prose.
//!
//! In fenced blocks only words that end in `/` or `.rs` are looked at, as paths.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[path = "tidy/checklist.rs"]
mod checklist;
#[path = "tidy/document.rs"]
mod document;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;

use document::Tree;
use source::{Source, Violation};

const FOLDERS: [&str; 4] = ["src", "loadtest", "tests", "benches"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with every violation of the tree.
fn hold(rule: impl Fn(&Source) -> Vec<Violation>) {
    let sources = source::read_tree(root(), &FOLDERS);
    assert!(sources.len() > 10, "only {} sources found below {}", sources.len(), root().display());
    report(sources.iter().flat_map(rule).collect());
}

fn report(found: Vec<Violation>) {
    let lines: Vec<String> = found.iter().map(|v| format!("{}:{}: {}", v.path, v.line, v.what)).collect();
    assert!(lines.is_empty(), "{} violations\n{}", lines.len(), lines.join("\n"));
}

/// The lines at which the rule catches the planted text.
fn caught(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
}

#[test]
fn files_have_at_most_500_lines() {
    hold(rules::file_length);
}

#[test]
fn a_file_of_501_lines_is_caught() {
    assert_eq!(caught(rules::file_length, "src/a.rs", &"\n".repeat(501)), [501]);
    assert!(caught(rules::file_length, "src/a.rs", &"\n".repeat(500)).is_empty());
}

#[test]
fn functions_have_at_most_70_lines() {
    hold(rules::function_length);
}

#[test]
fn a_function_of_71_lines_is_caught() {
    let function = |body: usize| {
        let text = "    a();\n".repeat(body);
        format!(
            "trait T {{\n    fn short(b: [u8; 4]) -> fn(u8);\n}}\nfn long<F>(f: F)\nwhere\n    F: Fn(),\n{{\n{text}}}\nfn b() {{}}\n"
        )
    };
    assert_eq!(caught(rules::function_length, "tests/a.rs", &function(66)), [4]);
    assert!(caught(rules::function_length, "tests/a.rs", &function(65)).is_empty());
}

#[test]
fn planes_name_only_what_the_floor_plan_allows() {
    hold(imports::forbidden_imports);
}

#[test]
fn an_import_across_planes_is_caught() {
    let rule = imports::forbidden_imports;
    assert_eq!(caught(rule, "src/data/edge/head.rs", "use crate::kernel::Id;\nuse crate::control::Admin;\n"), [2]);
    assert_eq!(caught(rule, "src/control/mod.rs", "use crate::{\n    kernel::{a, data},\n    data::Shard,\n};\n"), [3]);
    assert_eq!(caught(rule, "src/wire/sse.rs", "fn a() {\n    weir::dialect::b();\n}\n"), [2]);
    assert_eq!(caught(rule, "src/kernel/money.rs", "use super::super::wire::head;\nuse super::usage;\n"), [1]);
    assert_eq!(caught(rule, "src/kernel/mod.rs", "use crate::*;\n"), [1]);
    assert_eq!(caught(rule, "src/stray.rs", "\n"), [1]);
    assert_eq!(caught(rule, "loadtest/main.rs", "use weir::{loadtest, data};\n"), [1]);
    assert!(caught(rule, "src/boot.rs", "use crate::{control, data};\n").is_empty());
    assert!(
        caught(rule, "src/data/edge/mod.rs", "// crate::control\nmod tests { use super::super::gate; }\n").is_empty()
    );
}

#[test]
fn pure_planes_do_no_io_and_read_no_clock() {
    hold(rules::impure);
}

#[test]
fn a_clock_in_a_pure_plane_is_caught() {
    let text = "fn a() { let now = Instant::now(); }\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(caught(rules::impure, "src/kernel/a.rs", text), [1]);
    assert_eq!(caught(rules::impure, "src/wire/a.rs", "async fn a() {\n    b.await;\n    c.awaiting();\n}\n"), [1, 2]);
    assert!(caught(rules::impure, "src/link/a.rs", text).is_empty());
}

#[test]
fn unsafe_stands_only_in_sys() {
    hold(rules::unsafe_outside_sys);
}

#[test]
fn unsafe_elsewhere_is_caught() {
    let text = "#![allow(unsafe_code)] // unsafe\nfn a() {\n    unsafe { b() }\n}\n";
    assert_eq!(caught(rules::unsafe_outside_sys, "src/data/a.rs", text), [3]);
    assert_eq!(caught(rules::unsafe_outside_sys, "tests/a.rs", text), [3]);
    assert!(caught(rules::unsafe_outside_sys, "src/sys/a.rs", text).is_empty());
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    hold(rules::ignored_without_reason);
}

#[test]
fn a_bare_ignore_is_caught() {
    let text = "#[ignore]\nfn a() {}\n#[ignore = \"needs a kernel that no one has\"]\nfn b() {}\n    #[cfg_attr(miri, ignore)]\n#[ignore = \"\"]\n";
    assert_eq!(caught(rules::ignored_without_reason, "tests/a.rs", text), [1, 5, 6]);
}

#[test]
fn nothing_panics_on_the_request_path() {
    hold(rules::panic_on_request_path);
}

#[test]
fn a_panic_on_the_request_path_is_caught() {
    let text = "fn a() {\n    b().unwrap();\n    b().expect(\"c\");\n    todo!();\n    unimplemented!();\n    panic!();\n    b().unwrap_or(1);\n}\n#[cfg(test)]\nmod tests {\n    fn d() { b().unwrap(); }\n}\n";
    assert_eq!(caught(rules::panic_on_request_path, "src/link/a.rs", text), [2, 3, 4, 5, 6]);
    for elsewhere in ["src/control/a.rs", "src/data/edge/tests.rs", "src/wire/tests/head.rs", "tests/a.rs"] {
        assert!(caught(rules::panic_on_request_path, elsewhere, text).is_empty(), "{elsewhere}");
    }
}

#[test]
fn everything_that_architecture_md_names_exists() {
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("ARCHITECTURE.md is the map of the tree; write it");
    let sources = source::read_tree(root(), &FOLDERS);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    report(document::stale_names(
        "ARCHITECTURE.md",
        &text,
        &Tree::new(source::read_paths(root()), &sources, &manifest),
    ));
}

#[test]
fn a_name_that_is_gone_from_the_tree_is_caught() {
    let code = "use std::net::{IpAddr, TcpStream};\npub struct Lease {\n    pub slice_nanos: u64,\n}\nenum Room { Edge(u8), Gate }\nfn walk() {}\n// head_max\n";
    let paths = ["src/", "src/data/", "src/data/edge/", "src/data/edge/head.rs", "docs/", "docs/keys.md"];
    let sources = [Source::new("src/data/edge/head.rs", code)];
    let tree = Tree::new(paths.map(str::to_owned).to_vec(), &sources, "[dependencies]\nrtrb = \"1\"\n");
    let stale = |text: &str| document::stale_names("A.md", text, &tree).iter().map(|v| v.line).collect::<Vec<_>>();
    let good = "`src/data/edge/head.rs` `data/edge/` `head.rs` `docs/keys.md` `Lease<T>` `TcpStream` `Room::Edge` `walk()` `walk(a, b)`\n\
                `edge::head` `rtrb::Producer` `std::fs::File` `head_max` `slice_nanos` `POST /v1/messages` `text/event-stream`\n\
                `/v1/models` `weir serve --config weir.toml` plain Words_here\n```\ndata/ edge/ head.rs other::Words()\n```\n";
    assert!(stale(good).is_empty(), "{:?}", document::stale_names("A.md", good, &tree));
    for bad in [
        "src/data/edge/tail.rs",
        "tail.rs",
        "data/pool/",
        "UdpSocket",
        "Loan",
        "Room::Pool",
        "run()",
        "pool::head",
        "tail_max",
    ] {
        assert_eq!(stale(&format!("x\n`{bad}`\n")), [2], "{bad}");
    }
    assert_eq!(stale("```\ndata/\n  pool/\n```\n"), [3]);
}

/// What stands between `loadtest/numbers.rs`'s markers in a text, if they stand there once each and in order.
fn figures<'a>(numbers: &str, text: &'a str) -> Option<&'a str> {
    let marker = |name: &str| {
        let line = numbers.lines().find(|line| line.contains(&format!("const {name}: &str")));
        line.and_then(|line| line.split('"').nth(1)).map(str::to_owned)
    };
    let (begin, end) = (marker("BEGIN")?, marker("END")?);
    let (_, rest) = text.split_once(&begin).filter(|(before, _)| !before.contains(&end))?;
    let (figures, after) = rest.split_once(&end)?;
    let again = figures.contains(&begin) || after.contains(&begin) || after.contains(&end);
    (!again && !figures.trim().is_empty()).then_some(figures)
}

#[test]
fn the_readme_has_a_place_for_its_figures() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file of the tree");
    let (numbers, readme) = (read("loadtest/numbers.rs"), read("README.md"));
    let found = figures(&numbers, &readme);
    assert!(
        found.is_some(),
        "README.md wants the two markers of loadtest/numbers.rs, once each, and figures in between"
    );
}

#[test]
fn a_page_without_its_markers_is_caught() {
    let numbers = "pub const BEGIN: &str = \"<b>\";\npub const END: &str = \"<e>\";\n";
    assert_eq!(figures(numbers, "a\n<b>\n1\n<e>\nz"), Some("\n1\n"));
    for wrong in ["", "<b>\n1", "1<e>", "<e><b>1<e>", "<b>1<e><b>2<e>", "<b>\n<e>"] {
        assert_eq!(figures(numbers, wrong), None, "{wrong}");
    }
}

#[test]
fn a_row_of_the_checklist_has_no_test() {
    let table = fs::read_to_string(root().join("tests/CHECKLIST.md")).expect("the checklist");
    let sources = source::read_tree(root(), &FOLDERS);
    let is_golden = |file: &str| root().join("tests/golden/bridges").join(file).is_file();
    let faults = checklist::faults(&table, &sources, is_golden);
    assert!(faults.is_empty(), "tests/CHECKLIST.md:\n{}", faults.join("\n"));
}

#[test]
fn a_row_without_a_test_is_caught() {
    let sources = [Source::new("tests/a.rs", "#[test]\nfn it_holds() {}\n\nfn helper() {}\n")];
    let faults =
        |held: &str| checklist::faults(&format!("| R1 | what | {held} |"), &sources, |file| file == "a/b.request");
    let of_row = |held: &str| faults(held).into_iter().filter(|fault| fault.starts_with("R1:")).count();
    assert_eq!((of_row("`it_holds`"), of_row("golden: a/b.request")), (0, 0));
    assert_eq!((of_row("`helper`"), of_row("`gone`"), of_row("golden: a/c.request")), (2, 2, 2));
    assert!(faults("`it_holds`").contains(&"R2: is missing".to_owned()));
}

#[test]
fn what_the_checklist_wants_documented_is_not() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(readme.contains("NODE_EXTRA_CA_CERTS"), "README.md must say how clients come to trust a private CA");
}
