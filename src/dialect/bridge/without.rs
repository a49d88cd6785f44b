//! A request in its own format, without what its upstream refuses by name: the same cuts as a bridge makes, and no other.

use super::{
    Edit, betas,
    members::{self, Span},
    text::Text,
};
use crate::{
    dialect::refused::DROPPABLE,
    kernel::repairs::Named,
    wire::json::{TopLevelScanner, Wanted},
};
use serde_json::Value;

/// A list of betas in a body, at most. Bytes.
const BETAS_BYTES_MAX: usize = 16 * 1024;
const BETAS: usize = DROPPABLE.len();

static WANTED: [Wanted; BETAS + 1] = {
    let mut wanted = [Wanted { key: "anthropic_beta", capture_bytes_max: BETAS_BYTES_MAX }; BETAS + 1];
    let mut at = 0;
    while at < BETAS {
        wanted[at] = Wanted { key: DROPPABLE[at], capture_bytes_max: 0 };
        at += 1;
    }
    wanted
};

/// What changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Replacements, in order of their places, none over another.
    pub edits: Vec<Edit>,
    /// The line in place of the client's `anthropic-beta` lines, empty if no beta is left. `None`: those stay.
    pub line: Option<Vec<u8>>,
    /// What was left out.
    pub dropped: Vec<String>,
}

/// Says a request without what is refused, as far as it has it. `headers`: its `anthropic-beta`. Without a body only those
/// are looked at. `None` where the body is not an object that says each thing once: it goes as it is.
pub fn without(body: Option<Text<'_>>, headers: &[&[u8]], refused: &[Named]) -> Option<Without> {
    let mut out = Without::default();
    let told = betas::merged(headers, &[]);
    let (gone, left): (Vec<&str>, Vec<&str>) = told.into_iter().partition(|beta| is_refused(refused, beta));
    if !gone.is_empty() {
        let line = |left: &[&str]| format!("anthropic-beta: {}\r\n", left.join(",")).into_bytes();
        out.line = Some(if left.is_empty() { Vec::new() } else { line(&left) });
        out.dropped.extend(gone.into_iter().map(str::to_owned));
    }
    if let Some(text) = body {
        edited(text, refused, &mut out)?;
    }
    Some(out)
}

/// Which of what an upstream refuses does a request have?
pub fn present(text: Text<'_>, headers: &[&[u8]], named: &[Named]) -> Vec<Named> {
    let found = without(Some(text), headers, named).unwrap_or_default();
    named.iter().filter(|named| found.dropped.iter().any(|name| name == named.name())).cloned().collect()
}

fn is_refused(refused: &[Named], beta: &str) -> bool {
    refused.iter().any(|named| named.is_beta(beta))
}

fn edited(text: Text<'_>, refused: &[Named], out: &mut Without) -> Option<()> {
    let members = text.scan(0..text.len(), &WANTED).ok()?;
    if !members.is_complete() || (0..=BETAS).any(|key| members.seen(key) > 1) {
        return None;
    }
    let mut cut: Vec<Span> = Vec::new();
    for (key, name) in DROPPABLE.iter().enumerate() {
        if let Some(value) = members.value(key)
            && refused.iter().any(|named| named.is_field(name))
        {
            cut.push((value.key_start, value.end));
            out.dropped.push((*name).to_owned());
        }
    }
    let list = listed(&members, refused, &mut cut, &mut out.dropped)?;
    let open = text.next_solid(0).map_or(0, |(at, _)| at);
    out.edits = members::edits(text, open, cut, &[])?;
    out.edits.extend(list);
    out.edits.sort_by_key(|edit| edit.from);
    Some(())
}

/// The betas of a body: those that are left, or the whole member goes.
fn listed(
    members: &TopLevelScanner,
    refused: &[Named],
    cut: &mut Vec<Span>,
    dropped: &mut Vec<String>,
) -> Option<Option<Edit>> {
    let Some(value) = members.value(BETAS) else { return Some(None) };
    if value.truncated {
        return None;
    }
    let list: Vec<String> = serde_json::from_slice(value.raw).ok()?;
    let (gone, left): (Vec<String>, Vec<String>) = list.into_iter().partition(|beta| is_refused(refused, beta));
    if gone.is_empty() {
        return Some(None);
    }
    for beta in gone {
        if !dropped.contains(&beta) {
            dropped.push(beta);
        }
    }
    if left.is_empty() {
        cut.push((value.key_start, value.end));
        return Some(None);
    }
    Some(Some(Edit { from: value.start, to: value.end, text: Value::from(left).to_string().into_bytes() }))
}

#[cfg(test)]
mod tests {
    use super::{super::request::applied, *};

    fn refused() -> Vec<Named> {
        let betas = ["old-1", "old-2"].map(|name| Named::Beta(name.into()));
        [&betas[..], &[Named::Field("context_management"), Named::Field("speed")]].concat()
    }

    fn said(body: &str) -> Option<(String, Vec<String>)> {
        let whole = without(Some(Text(&[body.as_bytes()])), &[], &refused())?;
        for at in 0..=body.len() {
            let (head, tail) = body.as_bytes().split_at(at);
            assert_eq!(without(Some(Text(&[head, tail])), &[], &refused()).as_ref(), Some(&whole), "cut at {at}");
        }
        Some((String::from_utf8(applied(body.as_bytes(), &whole.edits)).unwrap(), whole.dropped))
    }

    #[test]
    fn more_goes_than_was_refused_or_the_body_is_broken_by_it() {
        for (body, left, dropped) in [
            (r#"{"model":"m","speed":"fast"}"#, r#"{"model":"m"}"#, &["speed"][..]),
            (
                r#" { "speed" : 1 , "context_management":{"a":[1,{}]}, "zeta":1.50e+2 }"#,
                r#" { "zeta":1.50e+2 }"#,
                &["context_management", "speed"],
            ),
            (r#"{"speed":1}"#, "{}", &["speed"]),
            (
                r#"{"metadata":{"speed":1},"messages":[{"context_management":2}]}"#,
                r#"{"metadata":{"speed":1},"messages":[{"context_management":2}]}"#,
                &[],
            ),
            (
                r#"{"anthropic_beta":["old-1","new","old-2"],"speed":1}"#,
                r#"{"anthropic_beta":["new"]}"#,
                &["speed", "old-1", "old-2"],
            ),
            (r#"{"a":1,"anthropic_beta":["old-1"],"speed":1,"b":2}"#, r#"{"a":1,"b":2}"#, &["speed", "old-1"]),
            (r#"{"anthropic_beta":["new"]}"#, r#"{"anthropic_beta":["new"]}"#, &[]),
        ] {
            let dropped: Vec<String> = dropped.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(said(body), Some((left.to_owned(), dropped)), "{body}");
        }
        for body in [r#"{"speed":1,"speed":2}"#, r#"{"speed":1"#, "[]", "", r#"{"anthropic_beta":"old-1"}"#] {
            assert_eq!(without(Some(Text(&[body.as_bytes()])), &[], &refused()), None, "{body}");
        }
    }

    #[test]
    fn a_beta_in_a_header_takes_others_with_it() {
        let line = |headers: &[&[u8]]| {
            let said = without(None, headers, &refused()).unwrap();
            (said.line.map(|line| String::from_utf8(line).unwrap()), said.dropped.join(","))
        };
        assert_eq!(line(&[b"new, old-10"]), (None, String::new()));
        assert_eq!(
            line(&[b"new, old-1", b"old-2,more"]),
            (Some("anthropic-beta: new,more\r\n".to_owned()), "old-1,old-2".to_owned())
        );
        assert_eq!(line(&[b"old-1"]), (Some(String::new()), "old-1".to_owned()));
    }

    #[test]
    fn what_a_request_never_said_is_learnt() {
        let body = br#"{"speed":"fast","anthropic_beta":["old-2"]}"#;
        let found = present(Text(&[body]), &[b"old-1"], &refused());
        assert_eq!(found.iter().map(Named::name).collect::<Vec<_>>(), ["old-1", "old-2", "speed"]);
        assert!(present(Text(&[b"{}"]), &[b"other"], &refused()).is_empty());
    }
}
