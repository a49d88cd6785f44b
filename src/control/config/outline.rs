//! What a configuration says, item by item, in a form that two of them can be compared in and that holds no secret: the audit's
//! account of a reload. It knows no section by name, so that a section added later is in it from the first day.
//!
//! A secret stands for itself as a keyed hash, whose key is drawn at start and kept nowhere: it tells that a secret has changed
//! behind the same `"${…}"`, and nothing else. What a field with a secret's name holds is not shown either.

use super::{Env, secrets::SECRET_BYTES_MAX};
use crate::control::changes::NAMED_MAX;
use aws_lc_rs::{digest, hmac, rand::SystemRandom};
use serde::Deserialize as _;
use serde_json::{Map, Value as Json, json};
use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

/// What names an item of a list, the first that there is.
const NAMES: [&str; 3] = ["id", "name", "issuer"];
/// What names one that has none of these, together.
const PARTS: [&str; 5] = ["scope", "period", "upstream", "model", "token"];
/// Fields whose content is not shown, whatever stands there.
const HIDDEN: [&str; 8] = ["sha256", "secret", "token", "auth", "key", "password", "credential", "bearer"];
/// A shown value, at most. Bytes.
const VALUE_BYTES_MAX: usize = 120;
/// All names and values of one account, roughly. Bytes.
const ACCOUNT_BYTES_MAX: usize = 32 * 1024;

/// One thing that a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Plain(String),
    Hidden([u8; 32]),
}

type Fields = BTreeMap<String, Said>;

/// A configuration, item by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    digest: String,
    sections: BTreeMap<String, BTreeMap<String, Fields>>,
}

impl Outline {
    /// Takes down what a file says. References to files are relative to `base_dir`.
    pub(super) fn of(text: &str, table: &DeTable<'_>, base_dir: &Path, env: Env<'_>) -> Self {
        let references = &References { base_dir, env };
        let mut sections: BTreeMap<String, BTreeMap<String, Fields>> = BTreeMap::new();
        for (section, value) in table {
            let items = sections.entry(section.get_ref().to_string()).or_default();
            match value.get_ref() {
                DeValue::Array(list) => list.iter().for_each(|item| add_item(items, item, references)),
                _ => take_down(items.entry(String::new()).or_default(), "", value, references),
            }
        }
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        Self { digest: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(), sections }
    }

    /// SHA-256 of the file's text, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many items each list has: keys, budgets, upstreams.
    pub fn counts(&self) -> Json {
        let lists = self.sections.iter().filter(|(_, items)| !items.contains_key(""));
        lists.map(|(section, items)| (section.clone(), json!(items.len()))).collect::<Map<_, _>>().into()
    }

    /// What is different in a later one: for each section that is, what was added, removed and changed.
    pub fn changes_to(&self, later: &Self) -> Json {
        let none = BTreeMap::new();
        let mut account = Account { left: ACCOUNT_BYTES_MAX };
        let mut changed = Map::new();
        let sections = self.sections.keys().chain(later.sections.keys().filter(|s| !self.sections.contains_key(*s)));
        for section in sections {
            let before = self.sections.get(section).unwrap_or(&none);
            let after = later.sections.get(section).unwrap_or(&none);
            if before != after {
                changed.insert(section.clone(), account.section(before, after));
            }
        }
        changed.into()
    }
}

/// What `"${…}"` refers to.
struct References<'a> {
    base_dir: &'a Path,
    env: Env<'a>,
}

impl References<'_> {
    /// The content of a small file. A pipe gives what it has once, and the reader of the configuration needs it.
    fn file(&self, path: &str) -> Option<String> {
        let path = self.base_dir.join(path);
        let about = fs::metadata(&path).ok()?;
        (about.is_file() && about.len() <= SECRET_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten()
    }
}

fn add_item(items: &mut BTreeMap<String, Fields>, item: &Spanned<DeValue<'_>>, references: &References<'_>) {
    let text = |key: &&str| item.get_ref().get(*key).and_then(|value| value.get_ref().as_str());
    let name = NAMES.iter().find_map(text).map(str::to_owned);
    let name = name.unwrap_or_else(|| PARTS.iter().filter_map(text).collect::<Vec<_>>().join(" "));
    let mut unique = if name.is_empty() { "(unnamed)".to_owned() } else { name };
    if items.contains_key(&unique) {
        unique = format!("{unique} #{}", items.len() + 1);
    }
    take_down(items.entry(unique).or_default(), "", item, references);
}

/// Writes down every field below a value, with the path to it.
fn take_down(fields: &mut Fields, path: &str, value: &Spanned<DeValue<'_>>, references: &References<'_>) {
    if let DeValue::Table(table) = value.get_ref() {
        for (key, value) in table {
            let key = key.get_ref();
            let below = if path.is_empty() { key.as_ref() } else { &format!("{path}.{key}") };
            take_down(fields, below, value, references);
        }
        return;
    }
    let hidden = path.split(['.', '_']).any(|word| HIDDEN.contains(&word));
    let said = match referred_to(value.get_ref(), references) {
        Some(secret) => Said::Hidden(keyed_hash(secret.as_bytes())),
        None if hidden => Said::Hidden(keyed_hash(written(value).as_bytes())),
        None => Said::Plain(written(value)),
    };
    fields.insert(path.to_owned(), said);
}

/// A value in one way of writing it, whichever was chosen: `0x10` and `16` are the same.
fn written(value: &Spanned<DeValue<'_>>) -> String {
    if let DeValue::String(text) = value.get_ref() {
        return text.to_string();
    }
    match Value::deserialize(ValueDeserializer::from(value.clone())) {
        Ok(value) => value.to_string(),
        // A number that is too large: nobody takes it, so that nothing is compared with it.
        Err(error) => error.message().to_owned(),
    }
}

/// What stands behind every reference in a value; none if there is no reference.
fn referred_to(value: &DeValue<'_>, references: &References<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => {
            let reference = text.strip_prefix("${")?.strip_suffix('}')?;
            let behind = match reference.strip_prefix("file:") {
                Some(path) => references.file(path),
                None => (references.env)(reference),
            };
            // The reference itself belongs to it: another name for the same secret is a change too.
            Some(format!("{text}\0{}", behind.unwrap_or_default()))
        }
        DeValue::Array(values) => {
            let found: Vec<String> =
                values.iter().filter_map(|value| referred_to(value.get_ref(), references)).collect();
            (!found.is_empty()).then(|| format!("{}\0{}", values.len(), found.join("\0")))
        }
        DeValue::Table(table) => table.values().find_map(|value| referred_to(value.get_ref(), references)),
        _ => None,
    }
}

/// Equal for equal contents in this process, and of no use to anybody else.
fn keyed_hash(content: &[u8]) -> [u8; 32] {
    static KEY: OnceLock<Option<hmac::Key>> = OnceLock::new();
    let key = KEY.get_or_init(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());
    // Without randomness nothing is told of secrets, not even that they have changed.
    key.as_ref().and_then(|key| hmac::sign(key, content).as_ref().try_into().ok()).unwrap_or_default()
}

/// An account being written: it names what it can, and counts the rest.
struct Account {
    left: usize,
}

impl Account {
    fn section(&mut self, before: &BTreeMap<String, Fields>, after: &BTreeMap<String, Fields>) -> Json {
        let mut told = Map::new();
        let none = Fields::new();
        if before.contains_key("") || after.contains_key("") {
            let (before, after) = (before.get("").unwrap_or(&none), after.get("").unwrap_or(&none));
            told.insert("fields".to_owned(), self.fields(before, after));
            return told.into();
        }
        let added: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
        let removed: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
        let changed: Vec<(&String, &Fields, &Fields)> = before
            .iter()
            .filter_map(|(name, fields)| Some((name, fields, after.get(name)?)))
            .filter(|(_, before, after)| before != after)
            .collect();
        self.names(&mut told, "added", &added);
        self.names(&mut told, "removed", &removed);
        let mut list = Map::new();
        for (name, before, after) in changed.iter().take(NAMED_MAX) {
            if self.takes(name.len()) {
                list.insert((*name).clone(), self.fields(before, after));
            }
        }
        if !changed.is_empty() {
            told.insert("changed_count".to_owned(), json!(changed.len()));
            told.insert("changed".to_owned(), list.into());
        }
        told.into()
    }

    fn names(&mut self, told: &mut Map<String, Json>, what: &str, names: &[&String]) {
        if names.is_empty() {
            return;
        }
        let named: Vec<&&String> = names.iter().take(NAMED_MAX).filter(|name| self.takes(name.len())).collect();
        told.insert(format!("{what}_count"), json!(names.len()));
        told.insert(what.to_owned(), json!(named));
    }

    /// Every field that is different: `[before, after]`, or that it was changed.
    fn fields(&mut self, before: &Fields, after: &Fields) -> Json {
        let mut told = Map::new();
        let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
        let mut left_out = 0;
        for name in names.filter(|name| before.get(*name) != after.get(*name)) {
            if told.len() >= NAMED_MAX || !self.takes(name.len() + 2 * VALUE_BYTES_MAX) {
                left_out += 1;
                continue;
            }
            told.insert(name.clone(), json!([shown(before.get(name)), shown(after.get(name))]));
        }
        if left_out > 0 {
            told.insert("(more)".to_owned(), json!(left_out));
        }
        told.into()
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        self.left -= if fits { bytes } else { 0 };
        fits
    }
}

fn shown(said: Option<&Said>) -> Json {
    match said {
        None => Json::Null,
        Some(Said::Hidden(_)) => json!("(hidden)"),
        Some(Said::Plain(text)) if text.contains("sk-ant") => json!("(hidden)"),
        Some(Said::Plain(text)) => {
            let mut end = text.len().min(VALUE_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            json!(if end < text.len() { format!("{}…", &text[..end]) } else { text.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str, secret: &str) -> Outline {
        let env = |_: &str| Some(secret.to_owned());
        Outline::of(text, DeTable::parse(text).unwrap().get_ref(), Path::new("."), &env)
    }

    const BEFORE: &str = r#"
        [limits]
        body_max = "1MiB"
        [audit.team.a]
        bodies = "none"
        [[key]]
        id = "alice"
        secret = "${A}"
        team = "x"
        [[key]]
        id = "bob"
        sha256 = "00ff"
        [[budget]]
        scope = "team:x"
        period = "monthly"
        amount = "5.00"
    "#;

    #[test]
    fn a_reload_does_not_say_what_it_changes_or_says_a_secret() {
        let after = BEFORE.replace("\"bob\"", "\"carol\"").replace("\"x\"", "\"y\"").replace("5.00", "6.00");
        let after = after.replace("\"none\"", "\"full\"").replace("[limits]\n        body_max = \"1MiB\"", "");
        let (before, after) = (outline(BEFORE, "hush"), outline(&after, "hush-hush"));
        let told = before.changes_to(&after);
        assert_eq!(told["key"]["added"], json!(["carol"]));
        assert_eq!(told["key"]["removed"], json!(["bob"]));
        assert_eq!(told["key"]["changed"], json!({"alice": {"secret": ["(hidden)", "(hidden)"], "team": ["x", "y"]}}));
        assert_eq!(told["budget"]["changed"], json!({"team:x monthly": {"amount": ["5.00", "6.00"]}}));
        assert_eq!(told["audit"]["fields"], json!({"team.a.bodies": ["none", "full"]}));
        assert_eq!(told["limits"]["fields"], json!({"body_max": ["1MiB", null]}));
        let text = format!("{told} {before:?}");
        assert!(!text.contains("hush") && !text.contains("00ff"), "{text}");
        assert_ne!(before.digest(), after.digest());
        assert_eq!(before.counts(), json!({"budget": 1, "key": 2}));
    }

    #[test]
    fn a_reload_without_a_change_is_said_to_change_something_or_a_new_secret_nothing() {
        assert_eq!(outline(BEFORE, "a").changes_to(&outline(BEFORE, "a")), json!({}));
        let told = outline(BEFORE, "a").changes_to(&outline(BEFORE, "b"));
        assert_eq!(
            told,
            json!({"key": {"changed_count": 1, "changed": {"alice": {"secret": ["(hidden)", "(hidden)"]}}}})
        );
    }

    #[test]
    fn a_secret_in_a_pipe_is_taken_from_whoever_needs_it() {
        use std::{io::Read as _, io::Write as _, os::fd::AsRawFd as _};
        let (mut pipe, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"hush").unwrap();
        drop(writer);
        let reference = |path: &str| format!("[admin]\ntoken = \"${{file:{path}}}\"\n");
        outline(&reference(&format!("/proc/self/fd/{}", pipe.as_raw_fd())), "");
        let mut left = String::new();
        pipe.read_to_string(&mut left).unwrap();
        assert_eq!(left, "hush");
        // What stands in a file is looked at: another content is a change.
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = reference(file.path().to_str().unwrap());
        let before = outline(&text, "");
        std::fs::write(file.path(), "hush").unwrap();
        assert_eq!(
            before.changes_to(&outline(&text, "")),
            json!({"admin": {"fields": {"token": ["(hidden)", "(hidden)"]}}})
        );
    }

    #[test]
    fn an_account_of_a_hundred_thousand_keys_grows_without_end() {
        let many = |first: usize| -> String {
            (first..first + 20_000).map(|n| format!("[[key]]\nid = \"a-rather-long-name-of-a-key-{n}\"\n")).collect()
        };
        let told = outline(&many(0), "").changes_to(&outline(&many(10_000), ""));
        assert_eq!(
            (&told["key"]["added_count"], told["key"]["added"].as_array().unwrap().len()),
            (&json!(10_000), NAMED_MAX)
        );
        assert!(told.to_string().len() < ACCOUNT_BYTES_MAX);
    }
}
