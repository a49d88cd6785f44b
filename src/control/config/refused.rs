//! What the configuration language knows and this version does not do: refused with a clear sentence, never ignored, since
//! an ignored limit is worse than none.

use super::reader::Reader;

/// Refuses whole sections.
pub(super) fn sections(root: &Reader<'_>) {
    if root.has("jwt") {
        root.error("jwt", "tokens of an identity provider are not accepted in this version", "remove [[jwt]]");
    }
}

/// Refuses one key of a section.
pub(super) fn key(reader: &Reader<'_>, key: &'static str, what: &str, mend: &str) {
    if reader.has(key) {
        reader.error(key, what, mend);
    }
}
