//! What answers say of batches and files (contract.md §1.4): their ids, where results are to be had, pages of them. Only what
//! must change is put in anew, as raw bytes; everything else stays as the provider wrote it.

use crate::dialect::bridge::Edit;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// Objects on a page unless the client asks otherwise.
const LIMIT_DEFAULT: usize = 20;
/// Objects on a page, at most. Upstreams are asked for so many, since some may be others'.
pub const LIMIT_MAX: usize = 1000;

/// An answer that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

#[derive(Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    results_url: Option<&'a RawValue>,
}

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// The address of its results, changed to ours.
    pub edits: Vec<Edit>,
}

/// Reads one object. `base`: scheme, host and prefix under which the client reaches us.
pub fn seen(body: &[u8], base: &str) -> Result<Seen, NotAnObject> {
    let text = std::str::from_utf8(body).map_err(|_| NotAnObject)?;
    let told: Described<'_> = serde_json::from_str(text).map_err(|_| NotAnObject)?;
    let id = told.id.and_then(|id| serde_json::from_str::<String>(id.get()).ok()).ok_or(NotAnObject)?;
    let edits = told.results_url.and_then(|url| moved(text, url, &id, base));
    Ok(Seen { id, edits: edits.into_iter().collect() })
}

/// The address of results at ours instead of the upstream's. `None` while there is none.
fn moved(text: &str, url: &RawValue, id: &str, base: &str) -> Option<Edit> {
    let _there = serde_json::from_str::<Option<String>>(url.get()).ok()??;
    let place = within(text, url.get())?;
    let ours = serde_json::Value::from(format!("{base}/v1/messages/batches/{id}/results")).to_string();
    Some(Edit { from: place.start as u64, to: place.end as u64, text: ours.into_bytes() })
}

/// Where a part of a text stands in it.
fn within(text: &str, part: &str) -> Option<Range<usize>> {
    let from = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    (from + part.len() <= text.len()).then(|| from..from + part.len())
}

/// A body with its edits.
pub fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut at = 0;
    for edit in edits {
        let (from, to) = (edit.from as usize, edit.to as usize);
        out.extend_from_slice(body.get(at..from).unwrap_or_default());
        out.extend_from_slice(&edit.text);
        at = to;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out
}

/// What of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Objects on the page.
    pub limit: usize,
    /// The object that the page follows or precedes.
    pub cursor: Option<String>,
    /// It precedes it.
    pub backwards: bool,
    /// The query for the upstream.
    pub query: Vec<u8>,
}

/// Reads a query. The error is what is wrong with it.
pub fn paging(query: &[u8]) -> Result<Paging, &'static str> {
    let text = std::str::from_utf8(query).map_err(|_| "query: must be text")?;
    let mut paging = Paging { limit: LIMIT_DEFAULT, cursor: None, backwards: false, query: Vec::new() };
    let mut passed: Vec<String> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                paging.limit = limit.ok_or("limit: must be from 1 to 1000")?;
                continue;
            }
            "after_id" | "before_id" if paging.cursor.is_some() => return Err("after_id, before_id: only one of them"),
            "after_id" | "before_id" => {
                paging.cursor = Some(value.to_owned());
                paging.backwards = name == "before_id";
            }
            _ => {}
        }
        passed.push(pair.to_owned());
    }
    passed.push(format!("limit={LIMIT_MAX}"));
    paging.query = passed.join("&").into_bytes();
    Ok(paging)
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: Option<bool>,
}

/// A page of what belongs to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mine {
    /// The answer.
    pub body: Vec<u8>,
    /// Objects on it.
    pub shown: usize,
}

/// Leaves on a page only what `mine` lets through, and as many as were asked for.
pub fn page(body: &[u8], asked: &Paging, base: &str, mine: impl Fn(&str) -> bool) -> Result<Mine, NotAnObject> {
    let text = std::str::from_utf8(body).map_err(|_| NotAnObject)?;
    let told: Page<'_> = serde_json::from_str(text).map_err(|_| NotAnObject)?;
    let (mut kept, mut last_of_all) = (Vec::new(), None);
    for object in told.data {
        let seen = seen(object.get().as_bytes(), base)?;
        if mine(&seen.id) {
            kept.push((object.get().as_bytes(), seen.clone()));
        }
        last_of_all = Some(seen.id);
    }
    let cut = kept.len() > asked.limit;
    if cut && asked.backwards {
        kept.drain(..kept.len() - asked.limit);
    }
    kept.truncate(asked.limit);
    let more = cut || told.has_more.unwrap_or(false);
    let id = |seen: Option<&(&[u8], Seen)>| seen.map(|(_, seen)| seen.id.clone());
    // A page without one of ours may still not be the last.
    let last = id(kept.last()).or_else(|| last_of_all.filter(|_| more));
    let data: Vec<Vec<u8>> = kept.iter().map(|(raw, seen)| edited(raw, &seen.edits)).collect();
    let mut out = b"{\"data\":[".to_vec();
    out.extend_from_slice(&data.join(&b","[..]));
    let told = [("has_more", more.into()), ("first_id", id(kept.first()).into()), ("last_id", last.into())];
    out.push(b']');
    for (name, value) in told {
        let value: serde_json::Value = value;
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    out.push(b'}');
    Ok(Mine { body: out, shown: kept.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = r#"{ "id" : "msgbatch_1", "n": 1e400, "z":"\u0000", "results_url":"https:\/\/api.anthropic.com/v1/messages/batches/msgbatch_1/results" ,"b":[ ] }"#;

    #[test]
    fn the_results_are_fetched_past_the_gateway_or_something_else_of_the_answer_changes() {
        let seen = seen(BATCH.as_bytes(), "http://gw:8080/anthropic").unwrap();
        let said = String::from_utf8(edited(BATCH.as_bytes(), &seen.edits)).unwrap();
        let ours = r#""http://gw:8080/anthropic/v1/messages/batches/msgbatch_1/results""#;
        let url = r#""https:\/\/api.anthropic.com/v1/messages/batches/msgbatch_1/results""#;
        assert_eq!((seen.id.as_str(), said), ("msgbatch_1", BATCH.replace(url, ours)));
        let running = r#"{"id":"b","results_url":null}"#;
        assert!(super::seen(running.as_bytes(), "x").unwrap().edits.is_empty());
        for odd in ["", "[]", "{}", r#"{"id":7}"#, "{\"id\":\"b\""] {
            assert_eq!(super::seen(odd.as_bytes(), "x"), Err(NotAnObject), "{odd}");
        }
    }

    #[test]
    fn a_page_shows_what_others_made_or_ends_where_more_is() {
        let object = |n: usize| format!("{{\"id\":\"f{n}\",\"x\": {n}.0}}");
        let all: Vec<String> = (0..6).map(object).collect();
        let body =
            format!("{{\"data\": [{}], \"has_more\": false, \"first_id\":\"f0\",\"last_id\":\"f5\"}}", all.join(" , "));
        let even = |id: &str| id[1..].parse::<usize>().unwrap() % 2 == 0;
        let ask = |query: &str| page(body.as_bytes(), &paging(query.as_bytes()).unwrap(), "b", even).unwrap();
        let text = |mine: Mine| String::from_utf8(mine.body).unwrap();
        assert_eq!(
            text(ask("")),
            r#"{"data":[{"id":"f0","x": 0.0},{"id":"f2","x": 2.0},{"id":"f4","x": 4.0}],"has_more":false,"first_id":"f0","last_id":"f4"}"#
        );
        let two = text(ask("limit=2"));
        assert!(two.ends_with(r#""has_more":true,"first_id":"f0","last_id":"f2"}"#), "{two}");
        assert!(text(ask("limit=1&before_id=x")).contains(r#""first_id":"f4""#));
        let none = page(body.as_bytes(), &paging(b"").unwrap(), "b", |_| false).unwrap();
        assert_eq!(
            (none.shown, text(none)),
            (0, r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#.into())
        );
        let more = body.replace("false", "true");
        let none = page(more.as_bytes(), &paging(b"").unwrap(), "b", |_| false).unwrap();
        assert!(text(none).ends_with(r#""has_more":true,"first_id":null,"last_id":"f5"}"#));
        assert_eq!(page(b"{\"data\":[{}]}", &paging(b"").unwrap(), "b", even), Err(NotAnObject));
    }

    #[test]
    fn a_limit_of_the_clients_hides_its_own_objects_behind_others() {
        let asked = paging(b"limit=5&after_id=f1&beta=true").unwrap();
        assert_eq!((asked.limit, asked.cursor.as_deref(), asked.backwards), (5, Some("f1"), false));
        assert_eq!(asked.query, b"after_id=f1&beta=true&limit=1000");
        assert!(paging(b"limit=0").is_err() && paging(b"limit=1001").is_err() && paging(b"limit=x").is_err());
        assert!(paging(b"after_id=a&before_id=b").is_err());
    }
}
