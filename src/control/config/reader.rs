//! Takes typed values out of a TOML table. It notes everything that is wrong instead of stopping at the first error, and it
//! remembers which keys were asked for, so that any other key is an error too.

use super::{Env, error::ConfigError, units};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

/// What a whole configuration is read against.
pub(super) struct Context<'a> {
    base_dir: &'a Path,
    pub(super) env: Env<'a>,
    errors: RefCell<Vec<ConfigError>>,
    named: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(base_dir: &'a Path, env: Env<'a>) -> Self {
        Self { base_dir, env, errors: RefCell::default(), named: RefCell::default() }
    }

    pub(super) fn note(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    /// A path as meant: relative ones start at the configuration file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let path = self.base_dir.join(path);
        self.named.borrow_mut().insert(path.clone());
        path
    }

    /// Everything that has been named so far, files and directories.
    pub(super) fn named(&self) -> BTreeSet<PathBuf> {
        self.named.borrow().clone()
    }
}

/// One table being read.
pub(super) struct Reader<'a> {
    table: &'a DeTable<'a>,
    path: String,
    context: &'a Context<'a>,
    asked: RefCell<Vec<&'static str>>,
    given_up: Cell<bool>,
}

impl<'a> Reader<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, context: &'a Context<'a>) -> Self {
        Self::at(table, String::new(), context)
    }

    fn at(table: &'a DeTable<'a>, path: String, context: &'a Context<'a>) -> Self {
        Self { table, path, context, asked: RefCell::default(), given_up: Cell::new(false) }
    }

    pub(super) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// The full path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Notes an error at a key of this table.
    pub(super) fn error(&self, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        self.context.note(ConfigError::new(self.path_of(key), message, mend));
    }

    /// Notes an error at this table as a whole.
    pub(super) fn error_here(&self, message: impl Into<String>, mend: impl Into<String>) {
        self.context.note(ConfigError::new(self.path.clone(), message, mend));
    }

    fn get(&self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key).map(Spanned::get_ref)
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Nothing more can be said about this table: its other keys belong to something this version does not do.
    pub(super) fn give_up(&self) {
        self.given_up.set(true);
    }

    /// Ends the reading: every key nobody asked for is an error.
    pub(super) fn finish(&self) {
        if self.given_up.get() {
            return;
        }
        let asked = self.asked.borrow();
        for key in self.table.keys().map(name).filter(|key| !asked.contains(key)) {
            let mend = match units::nearest(key, asked.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    format!("remove it; known here: {}", known.join(", "))
                }
            };
            self.error(&shown_key(key), "is not a known key", mend);
        }
    }

    fn mistyped(&self, key: &str, value: &DeValue<'_>, wanted: &str) {
        self.error(key, format!("is {}", kind(value)), format!("write {wanted}"));
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        match self.get(key)? {
            DeValue::String(text) => Some(text.as_ref()),
            other => {
                self.mistyped(key, other, "a text in quotes");
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn need_text(&self, key: &'static str, example: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.error(key, "is missing", format!("write {key} = \"{example}\""));
        }
        self.text(key)
    }

    /// A name people and headers will carry: 1 to 256 visible characters, no control characters. Empty if wrong.
    pub(super) fn label(&self, key: &'static str, text: Option<&'a str>) -> String {
        let Some(text) = text else { return String::new() };
        if text.is_empty() || text.len() > 256 || text.trim() != text || text.chars().any(char::is_control) {
            self.error(
                key,
                "is empty, longer than 256 bytes, or holds control characters or spaces at its ends",
                "write a plain name",
            );
            return String::new();
        }
        text.to_string()
    }

    /// A label that may be absent.
    pub(super) fn optional_label(&self, key: &'static str) -> String {
        let text = self.text(key);
        self.label(key, text)
    }

    /// true or false.
    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                self.mistyped(key, other, "true or false, without quotes");
                default
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, key: &'static str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let wanted = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match self.get(key) {
            None => default,
            Some(DeValue::Integer(value)) => match whole(value).filter(|value| bounds.contains(value)) {
                Some(value) => value,
                None => {
                    self.error(key, format!("is {value}"), format!("write {}", wanted()));
                    default
                }
            },
            Some(other) => {
                self.mistyped(key, other, &wanted());
                default
            }
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, key: &'static str, default: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        let show = units::show_duration;
        let example = format!(
            "a duration such as \"{}\", from \"{}\" to \"{}\"",
            show(default),
            show(*bounds.start()),
            show(*bounds.end())
        );
        self.measured(key, default, &example, |text| units::duration(text).filter(|value| bounds.contains(value)))
    }

    /// A size in bytes within bounds.
    pub(super) fn size(&self, key: &'static str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let show = units::show_size;
        let example = format!(
            "a size such as \"{}\", from \"{}\" to \"{}\"",
            show(default),
            show(*bounds.start()),
            show(*bounds.end())
        );
        self.measured(key, default, &example, |text| units::size(text).filter(|value| bounds.contains(value)))
    }

    /// A quoted value with a reading of its own.
    pub(super) fn measured<T>(
        &self,
        key: &'static str,
        default: T,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        match self.get(key) {
            None => default,
            Some(DeValue::String(text)) => read(text).unwrap_or_else(|| {
                self.error(key, format!("is {}", shown(text)), format!("write {wanted}"));
                default
            }),
            Some(other) => {
                self.mistyped(key, other, wanted);
                default
            }
        }
    }

    /// A quoted value whose reading explains its own errors.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.get(key)? {
            DeValue::String(text) => match read(text) {
                Ok(value) => Some(value),
                Err(error) => {
                    // What is wrong comes from the value's own type, how to write it from here.
                    let error = error.to_string();
                    let what = error.split(';').next().unwrap_or_default();
                    self.error(key, format!("{} {what}", shown(text)), format!("write {wanted}"));
                    None
                }
            },
            other => {
                self.mistyped(key, other, wanted);
                None
            }
        }
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known = units::listed(words.iter().map(|(word, _)| *word));
            self.error(key, format!("is {}", shown(text)), format!("write {known}"));
        }
        found
    }

    /// A list of texts; each comes with its own key, `aliases[2]`.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<(String, &'a str)>> {
        let DeValue::Array(values) = self.get(key)? else {
            self.error(key, "is not a list", format!("write {key} = [\"…\", \"…\"]"));
            return None;
        };
        let mut texts = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            let item = format!("{key}[{place}]");
            match value.get_ref() {
                DeValue::String(text) => texts.push((item, text.as_ref())),
                other => self.mistyped(&item, other, "a text in quotes"),
            }
        }
        Some(texts)
    }

    /// A text, or a list of texts.
    pub(super) fn one_or_more_texts(&self, key: &'static str) -> Option<Vec<(String, &'a str)>> {
        match self.get(key)? {
            DeValue::String(text) => Some(vec![(key.to_owned(), text.as_ref())]),
            DeValue::Array(_) => self.texts(key),
            other => {
                self.mistyped(key, other, "a text in quotes, or a list of them");
                None
            }
        }
    }

    /// A table of texts whose names are the operator's own: each with its path.
    pub(super) fn named_texts(&self, key: &'static str) -> Vec<(&'a str, String, &'a str)> {
        let table = match self.get(key) {
            None => return Vec::new(),
            Some(DeValue::Table(table)) => table,
            Some(other) => {
                self.mistyped(key, other, &format!("{key} = {{ \"name\" = \"value\" }}"));
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(table.len());
        for (its, value) in table {
            let item = format!("{key}.{}", shown_key(name(its)));
            match value.get_ref() {
                DeValue::String(text) => texts.push((name(its), item, text.as_ref())),
                other => self.mistyped(&item, other, "a text in quotes"),
            }
        }
        texts
    }

    /// A table of this table.
    pub(super) fn table(&self, key: &'static str) -> Option<Reader<'a>> {
        match self.get(key)? {
            DeValue::Table(table) => Some(Reader::at(table, self.path_of(key), self.context)),
            other => {
                let written = self.path_of(key);
                self.mistyped(key, other, &format!("[{written}] (or {key} = {{ … }}), one table"));
                None
            }
        }
    }

    /// Every key of this table as a table of its own: names that the operator chooses.
    pub(super) fn each(&self) -> Vec<(&'a str, Reader<'a>)> {
        self.give_up();
        let mut readers = Vec::new();
        for (key, value) in self.table.iter().map(|(key, value)| (name(key), value.get_ref())) {
            match value {
                DeValue::Table(table) => {
                    readers.push((key, Reader::at(table, self.path_of(&shown_key(key)), self.context)))
                }
                other => self.mistyped(&shown_key(key), other, "a table"),
            }
        }
        readers
    }

    /// A list of tables, `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Reader<'a>> {
        let values = match self.get(key) {
            None => return Vec::new(),
            Some(DeValue::Array(values)) => values,
            Some(other) => {
                self.mistyped(key, other, &format!("[[{key}]], a list of tables"));
                return Vec::new();
            }
        };
        let mut readers = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    let path = format!("{}[{place}]", self.path_of(key));
                    readers.push(Reader::at(table, path, self.context));
                }
                other => self.mistyped(&format!("{key}[{place}]"), other, "a table"),
            }
        }
        readers
    }

    /// A date and time, quoted or not, as Unix seconds.
    pub(super) fn timestamp(&self, key: &'static str) -> Option<i64> {
        let text = match self.get(key)? {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(at) => at.to_string(),
            other => {
                self.mistyped(key, other, "a time such as \"2027-01-01T00:00:00Z\"");
                return None;
            }
        };
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at.as_second()),
            Err(_) => {
                let mend = "write an RFC 3339 time with its zone, such as \"2027-01-01T00:00:00Z\"";
                self.error(key, format!("is {}", shown(&text)), mend);
                None
            }
        }
    }

    /// A path, relative to the configuration file.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.text(key)?;
        if text.is_empty() || text.contains('\0') {
            self.error(key, "is no path", "write the path of a file");
            return None;
        }
        Some(self.context.resolve(text))
    }
}

/// A key of a table.
fn name<'a>(key: &'a Spanned<DeString<'_>>) -> &'a str {
    key.get_ref()
}

fn whole(value: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(value.as_str(), value.radix()).ok()
}

/// A value as an error may show it: short, quoted, without control characters.
pub(super) fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    // Somebody may have put a credential where it does not belong.
    if text.contains("sk-ant") {
        return "what looks like a credential".to_string();
    }
    let mut short: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > SHOWN {
        short.push('…');
    }
    format!("\"{short}\"")
}

/// A key as a path may show it.
fn shown_key(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { key.to_string() } else { shown(key) }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
