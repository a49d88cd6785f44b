//! What the configuration language knows and this version does not do: refused with a clear sentence, never ignored, since
//! an ignored limit is worse than none.

use super::reader::Reader;

/// Refuses one key of a section.
pub(super) fn key(reader: &Reader<'_>, key: &'static str, what: &str, mend: &str) {
    if reader.has(key) {
        reader.error(key, what, mend);
    }
}
