//! A change as others see it.

use super::Change;
use serde::Serialize;
use serde_json::Value;

/// A change with its names. What it does not have is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeView {
    /// Which change.
    pub change_id: String,
    /// When it was decided, RFC 3339.
    pub at: String,
    /// What.
    pub kind: String,
    /// Who.
    pub who: String,
    /// From which address.
    pub peer: Option<String>,
    /// What was changed.
    pub subject: Option<String>,
    /// How it stood before.
    pub before: Option<Value>,
    /// How it stands after.
    pub after: Option<Value>,
    /// Why it did not happen after all; null for what did.
    pub failed: Option<String>,
}

impl ChangeView {
    /// Shows a change.
    pub fn of(change: &Change) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let json = |text: &str| serde_json::from_str(text).ok();
        Self {
            change_id: change.id.to_string(),
            at: change.at.rfc3339(),
            kind: change.kind.to_string(),
            who: change.who.clone(),
            peer: some(&change.peer),
            subject: some(&change.subject),
            before: json(&change.before),
            after: json(&change.after),
            failed: change.failed.clone(),
        }
    }
}
