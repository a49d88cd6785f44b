//! What the admin API is asked for, read strictly: unknown fields are refused by name, and every field that is wrong is told.

use super::error::FieldError;
use crate::{
    control::config::units,
    kernel::{
        limits::{KEY_ID_BYTES_MAX, MODEL_BYTES_MAX, ROTATION_GRACE, ROTATION_GRACE_MAX},
        policy::Pattern,
    },
};
use serde_json::{Map, Value};
use std::time::Duration;

/// User, team and project, as long as the configuration allows them. Bytes.
const LABEL_BYTES_MAX: usize = 256;
/// Patterns in an allow list.
const PATTERNS_MAX: usize = 256;

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// Person or service; empty for none.
    pub user: String,
    /// Team; empty for none.
    pub team: String,
    /// Project; empty for none.
    pub project: String,
    /// Models it may use; `None` for all.
    pub models: Option<Vec<Pattern>>,
    /// Unix second from which it is no longer valid.
    pub expires: Option<i64>,
}

/// How a secret is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long the old secret works on.
    pub grace: Duration,
}

impl NewKey {
    /// Reads `{"id","user","team","project","models","expires"}`; all but `id` may be left out.
    pub fn parse(body: &[u8], now_seconds: i64) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let key = Self {
            id: fields.id(),
            user: fields.label("user"),
            team: fields.label("team"),
            project: fields.label("project"),
            models: fields.patterns("models"),
            expires: fields.time("expires", now_seconds),
        };
        fields.finish(key)
    }
}

impl Rotation {
    /// Reads `{"grace":"1h"}`; nothing at all means the usual grace.
    pub fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(if body.is_empty() { b"{}" } else { body })?;
        let grace = fields.grace("grace");
        fields.finish(Self { grace })
    }
}

struct Fields {
    left: Map<String, Value>,
    asked: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let whole = |message: String| vec![FieldError { field: String::new(), message }];
        match serde_json::from_slice(body) {
            Ok(Value::Object(left)) => Ok(Self { left, asked: Vec::new(), errors: Vec::new() }),
            Ok(_) => Err(whole("the body is no JSON object; write {\"id\":\"…\"}".to_owned())),
            // The place alone: the text may hold what somebody took for a secret's place.
            Err(error) => Err(whole(format!("the body is no JSON: line {}, column {}", error.line(), error.column()))),
        }
    }

    fn finish<T>(mut self, value: T) -> Result<T, Vec<FieldError>> {
        let known = self.asked.join(", ");
        for field in std::mem::take(&mut self.left).into_iter().map(|(field, _)| field) {
            let field = field.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
            let message = match units::nearest(&field, self.asked.iter().copied()) {
                Some(near) => format!("is not a known field; did you mean \"{near}\"?"),
                None => format!("is not a known field; known here: {known}"),
            };
            self.errors.push(FieldError { field, message });
        }
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.asked.push(field);
        self.left.remove(field).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
    }

    fn text(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(field, "is no text in quotes");
                None
            }
        }
    }

    fn id(&mut self) -> String {
        let had = self.errors.len();
        let id = self.text("id").unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        // Dots alone would be taken for a step in a path.
        let dots = id.bytes().all(|b| b == b'.');
        if self.errors.len() == had && (id.len() > KEY_ID_BYTES_MAX || dots || !id.bytes().all(plain)) {
            self.wrong("id", format!("must be 1 to {KEY_ID_BYTES_MAX} letters, digits, dots, underscores or hyphens"));
        }
        id
    }

    fn label(&mut self, field: &'static str) -> String {
        let Some(text) = self.text(field) else { return String::new() };
        if text.is_empty() || text.len() > LABEL_BYTES_MAX || text.trim() != text || text.chars().any(char::is_control)
        {
            let message = format!("must be 1 to {LABEL_BYTES_MAX} bytes without control characters or outer spaces");
            self.wrong(field, message);
        }
        text
    }

    fn patterns(&mut self, field: &'static str) -> Option<Vec<Pattern>> {
        let wanted = "must be a list of model ids or patterns such as [\"claude-*\"]; leave it out to allow all";
        let Value::Array(values) = self.take(field)? else {
            self.wrong(field, wanted);
            return None;
        };
        if values.is_empty() || values.len() > PATTERNS_MAX {
            self.wrong(field, format!("holds {} patterns; {wanted}", values.len()));
        }
        let mut patterns = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            match value.as_str() {
                Some(text)
                    if !text.is_empty()
                        && text.len() <= MODEL_BYTES_MAX
                        && text.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    patterns.push(Pattern::new(text));
                }
                _ => self.wrong(
                    format!("{field}[{place}]"),
                    format!("must be 1 to {MODEL_BYTES_MAX} visible ASCII characters"),
                ),
            }
        }
        Some(patterns)
    }

    fn time(&mut self, field: &'static str, now_seconds: i64) -> Option<i64> {
        let text = self.text(field)?;
        match text.parse::<jiff::Timestamp>().map(|at| at.as_second()) {
            Ok(at) if at > now_seconds => return Some(at),
            Ok(_) => self.wrong(field, "lies in the past"),
            Err(_) => self.wrong(field, "must be an RFC 3339 time with its zone, such as \"2027-01-01T00:00:00Z\""),
        }
        None
    }

    fn grace(&mut self, field: &'static str) -> Duration {
        let Some(text) = self.text(field) else { return ROTATION_GRACE };
        let read = if text == "0" { Some(Duration::ZERO) } else { units::duration(&text) };
        read.filter(|grace| *grace <= ROTATION_GRACE_MAX).unwrap_or_else(|| {
            let most = units::show_duration(ROTATION_GRACE_MAX);
            self.wrong(
                field,
                format!("must be a duration such as \"1h\", at most \"{most}\"; \"0\" ends the old secret at once"),
            );
            ROTATION_GRACE
        })
    }
}
