//! `[[model]]` and `[models]`.

use super::{
    reader::Reader,
    types::{ModelConfig, TargetConfig},
};
use crate::kernel::{
    limits::{MODEL_BYTES_MAX, TARGETS_MAX},
    models::Strategy,
};
use std::collections::HashMap;

/// Reads `[models] passthrough`.
pub(super) fn passthrough(root: &Reader<'_>) -> bool {
    let Some(reader) = root.table("models") else { return false };
    let passthrough = reader.boolean("passthrough", false);
    reader.finish();
    passthrough
}

/// Reads all models; ids and aliases are one name space.
pub(super) fn models(root: &Reader<'_>) -> Vec<ModelConfig> {
    let mut seen: HashMap<String, String> = HashMap::new();
    root.tables("model").iter().map(|reader| model(reader, &mut seen)).collect()
}

fn model(reader: &Reader<'_>, seen: &mut HashMap<String, String>) -> ModelConfig {
    let written = reader.need_text("id", "claude-sonnet-5-5").unwrap_or_default();
    let id = if written.is_empty() { String::new() } else { model_id(reader, "id", written) };
    claim(reader, "id", &id, seen);
    let mut aliases = Vec::new();
    for (item, text) in reader.texts("aliases").unwrap_or_default() {
        let alias = model_id(reader, &item, text);
        claim(reader, &item, &alias, seen);
        aliases.push(alias);
    }
    let targets = targets(reader);
    let strategy = strategy(reader, &targets);
    reader.finish();
    ModelConfig { id, aliases, targets, strategy }
}

/// How a target is chosen. Several targets of one rank are several accounts that could serve a session, so sessions stay where
/// their prompts are cached unless something else is asked for.
fn strategy(reader: &Reader<'_>, targets: &[TargetConfig]) -> Strategy {
    let words = [
        ("ordered", Strategy::Ordered),
        ("weighted", Strategy::Weighted),
        ("least_busy", Strategy::LeastBusy),
        ("affinity", Strategy::Affinity),
    ];
    let peers = targets.iter().enumerate().any(|(at, one)| targets[..at].iter().any(|other| other.rank == one.rank));
    let default = if peers { Strategy::Affinity } else { Strategy::Ordered };
    reader.choice("strategy", &words).unwrap_or(default)
}

/// A model id: visible ASCII, and short enough for the gate.
fn model_id(reader: &Reader<'_>, key: &str, text: &str) -> String {
    if text.is_empty() || text.len() > MODEL_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let message =
            format!("is empty, longer than {MODEL_BYTES_MAX} bytes, or holds spaces or characters outside ASCII");
        reader.error(key, message, "write a model id such as \"claude-sonnet-5-5\"");
        return String::new();
    }
    text.to_string()
}

fn claim(reader: &Reader<'_>, key: &str, id: &str, seen: &mut HashMap<String, String>) {
    if id.is_empty() {
        return;
    }
    let path = reader.path_of(key);
    if let Some(first) = seen.get(id) {
        reader.error(key, format!("\"{id}\" already names a model ({first})"), "let each id and alias name one model");
    } else {
        seen.insert(id.to_string(), path);
    }
}

fn targets(reader: &Reader<'_>) -> Vec<TargetConfig> {
    const MEND: &str = "write targets = [ { upstream = \"NAME\" } ]";
    if !reader.has("targets") {
        reader.error("targets", "is missing", MEND);
        return Vec::new();
    }
    let readers = reader.tables("targets");
    let mut targets: Vec<TargetConfig> = Vec::new();
    for target in &readers {
        let upstream = target.need_text("upstream", "anthropic-main").unwrap_or_default().to_string();
        let model = target.text("model").map(|text| model_id(target, "model", text));
        let weight = target.has("weight").then(|| target.integer("weight", 1, 1..=1000) as u32);
        let rank = target.integer("rank", 0, 0..=100) as u16;
        target.finish();
        let read = TargetConfig { upstream, model, weight, rank };
        if targets.iter().any(|other| other.upstream == read.upstream && other.model == read.model) {
            target.error_here("is listed twice", "remove one; a failed upstream is not asked again for the same model");
        }
        targets.push(read);
    }
    if readers.len() > TARGETS_MAX {
        let message = format!("has {} entries, but a model has {TARGETS_MAX} targets at most", readers.len());
        reader.error("targets", message, "remove some");
    }
    if readers.is_empty() {
        reader.error("targets", "is empty or no list of tables", MEND);
    }
    targets
}
