//! `[[budget]]`.

use super::{
    reader::{Reader, shown},
    types::{BudgetConfig, ScopeKind, ScopePattern},
};
use crate::kernel::{account::Mode, money::Nanos, window::Period};
use std::collections::HashMap;

const SCOPES: &str =
    "write \"org\", \"session\", or team:, project:, user: or key: with an id or *, such as \"team:platform\"";
const MESSAGE_BYTES_MAX: usize = 500;

/// Reads all budgets; one scope has one budget for a period.
pub(super) fn budgets(root: &Reader<'_>) -> Vec<BudgetConfig> {
    let mut seen: HashMap<(ScopePattern, Period), String> = HashMap::new();
    let mut budgets = Vec::new();
    for reader in root.tables("budget") {
        let budget = budget(&reader);
        if let Some(scope) = &budget.scope
            && let Some(first) = seen.insert((scope.clone(), budget.period), reader.path_of("scope"))
        {
            let message = format!("has a {} budget already ({first})", budget.period);
            reader.error("scope", message, "merge the two, or give one another period");
        }
        budgets.push(budget);
    }
    budgets
}

fn budget(reader: &Reader<'_>) -> BudgetConfig {
    let scope = scope(reader);
    let is_session = scope == Some(ScopePattern::Each(ScopeKind::Session));
    // A session is one piece of work: unless told otherwise, its budget is for the whole of it.
    if !reader.has("period") && !is_session {
        reader.error("period", "is missing", "write period = \"monthly\" (or daily, weekly, total)");
    }
    let periods =
        [("daily", Period::Daily), ("weekly", Period::Weekly), ("monthly", Period::Monthly), ("total", Period::Total)];
    if !reader.has("amount") {
        reader.error("amount", "is missing", "write amount = \"500.00\", US dollars");
    }
    let amount = reader.parsed("amount", "US dollars in quotes, such as \"500.00\"", Nanos::parse_dollars);
    let budget = BudgetConfig {
        scope,
        amount: amount.unwrap_or_default(),
        period: reader.choice("period", &periods).unwrap_or(Period::Total),
        mode: reader.choice("mode", &[("hard", Mode::Hard), ("soft", Mode::Soft)]).unwrap_or(Mode::Hard),
        blocked_message: message(reader),
    };
    reader.finish();
    budget
}

/// Whom a rule limits.
pub(super) fn scope(reader: &Reader<'_>) -> Option<ScopePattern> {
    let text = reader.need_text("scope", "team:platform")?;
    if text == "org" {
        return Some(ScopePattern::Org);
    }
    if text == "session" || text == "session:*" {
        return Some(ScopePattern::Each(ScopeKind::Session));
    }
    if text.starts_with("session:") {
        let message = format!("is {}: a session's id is known to nobody before it begins", shown(text));
        reader.error("scope", message, "write \"session\", which limits each session");
        return None;
    }
    let (kind, id) = text.split_once(':').unwrap_or((text, ""));
    let kind = match kind {
        "team" => ScopeKind::Team,
        "project" => ScopeKind::Project,
        "user" => ScopeKind::User,
        "key" => ScopeKind::Key,
        _ => {
            reader.error("scope", format!("is {}", shown(text)), SCOPES);
            return None;
        }
    };
    match id {
        "" => {
            reader.error("scope", format!("is {} without an id", shown(text)), SCOPES);
            None
        }
        "*" => Some(ScopePattern::Each(kind)),
        id => Some(ScopePattern::One(kind, id.to_string())),
    }
}

fn message(reader: &Reader<'_>) -> String {
    let Some(text) = reader.text("blocked_message") else { return String::new() };
    if text.len() > MESSAGE_BYTES_MAX || text.chars().any(char::is_control) {
        let message = format!("is longer than {MESSAGE_BYTES_MAX} bytes or holds line breaks");
        reader.error("blocked_message", message, "write one short line");
    }
    text.to_string()
}
