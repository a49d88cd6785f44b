//! What is different between two configurations, in lines for people, and what of it a reload cannot bring about.

use serde_json::{Map, Value as Json};

/// Fields, by section and beginning, of which sockets and threads are made.
const FIXED: [(&str, &str); 6] = [
    ("listen", "clients"),
    ("listen", "admin"),
    ("shards", ""),
    ("store", ""),
    ("admin", "token"),
    ("audit", "retention"),
];

/// Those changes (as `Outline::changes_to` says them) that take effect in a new process only.
pub fn needs_new_process(changed: &Json) -> Vec<String> {
    let fixed = |section: &str, field: &str| {
        let is_it = |(of, begins): &&(&str, &str)| *of == section && (begins.is_empty() || *begins == field);
        FIXED.iter().find(is_it).is_some()
    };
    let mut found = Vec::new();
    for (section, what) in changed.as_object().into_iter().flatten() {
        for field in what["fields"].as_object().into_iter().flat_map(Map::keys) {
            if fixed(section, field) {
                found.push(format!("{section}.{field}"));
            }
        }
    }
    found
}

/// The changes, one a line: `+` for what is new, `-` for what is gone, `~` for what is different.
pub fn difference(changed: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    for (section, what) in changed.as_object().into_iter().flatten() {
        for (sign, list) in [("+", "added"), ("-", "removed")] {
            let names: Vec<&str> = what[list].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            lines.extend(names.iter().map(|name| format!("{sign} {section} {name}")));
            lines.extend(more(what, list, names.len()).map(|more| format!("{sign} {section}: {more} more")));
        }
        let items = what["changed"].as_object();
        for (name, fields) in items.into_iter().flatten() {
            lines.push(format!("~ {section} {name}: {}", said(fields)));
        }
        let told = items.map_or(0, Map::len);
        lines.extend(more(what, "changed", told).map(|more| format!("~ {section}: {more} more")));
        if what["fields"].is_object() {
            lines.push(format!("~ {section}: {}", said(&what["fields"])));
        }
    }
    lines
}

fn more(what: &Json, list: &str, told: usize) -> Option<u64> {
    what[format!("{list}_count")].as_u64()?.checked_sub(told as u64).filter(|more| *more > 0)
}

fn said(fields: &Json) -> String {
    let text = |value: &Json| match value {
        Json::Null => "(default)".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let each = fields.as_object().into_iter().flatten().map(|(name, values)| match (&values[0], &values[1]) {
        (Json::Null, after) if !values.is_array() => format!("{name} {after}"),
        (before, after) if before == after => format!("{name} is another one"),
        (before, after) => format!("{name} {} -> {}", text(before), text(after)),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_left_out_or_a_restart_is_not_asked_for() {
        let changed = json!({
            "key": {"added": ["carol"], "added_count": 60, "removed": ["bob"], "removed_count": 1,
                    "changed": {"alice": {"secret": ["(hidden)", "(hidden)"], "team": ["x", "y"]}}, "changed_count": 1},
            "shards": {"fields": {"count": ["2", "4"]}},
            "listen": {"fields": {"clients": ["a", "b"], "tls.cert": [null, "c"]}},
            "limits": {"fields": {"body_max": ["1MiB", null]}},
        });
        assert_eq!(needs_new_process(&changed), ["listen.clients", "shards.count"]);
        assert_eq!(
            difference(&changed),
            [
                "+ key carol",
                "+ key: 59 more",
                "- key bob",
                "~ key alice: secret is another one, team x -> y",
                "~ limits: body_max 1MiB -> (default)",
                "~ listen: clients a -> b, tls.cert (default) -> c",
                "~ shards: count 2 -> 4",
            ]
        );
        assert!(difference(&json!({})).is_empty() && needs_new_process(&json!({})).is_empty());
    }
}
