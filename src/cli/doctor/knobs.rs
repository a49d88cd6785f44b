//! The table of knobs: `tuning/knobs.toml`, which says what its keys mean.

use serde::Deserialize;

/// The table this program was built with.
const TABLE: &str = include_str!("../../../tuning/knobs.toml");

/// Where a knob is read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Where {
    /// A sysctl, by name.
    Sysctl,
    /// A line of `/proc/self/limits`.
    Limit,
    /// Files below `/sys`, `*` for each.
    Sys,
    /// Looked at by code.
    Host,
}

/// One knob.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knob {
    /// What it is called in the report.
    pub(super) name: String,
    /// Where it is read.
    #[serde(rename = "where")]
    pub(super) place: Where,
    /// What is read there.
    pub(super) key: String,
    /// The number wanted, or more.
    pub(super) at_least: Option<u64>,
    /// One of these is wanted.
    #[serde(default)]
    pub(super) one_of: Vec<String>,
    /// Two numbers so far apart are wanted, or farther.
    pub(super) span_at_least: Option<u64>,
    /// Below this weir cannot work.
    pub(super) fail_below: Option<u64>,
    /// With any other value weir cannot work.
    #[serde(default)]
    pub(super) fail_unless: Vec<String>,
    /// It need not be there: the word is `ok`.
    pub(super) absent: Option<String>,
    /// What the file `from` sets.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the tests of the files"))]
    pub(super) set: Option<String>,
    /// The file of `tuning/` that sets it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the tests of the files"))]
    pub(super) from: Option<String>,
    /// Why it is wanted.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the tests of the files"))]
    pub(super) why: String,
    /// What it was measured to do.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the tests of the files"))]
    pub(super) effect: String,
    /// The command that mends it.
    pub(super) mend: String,
    /// How to take it back.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people, and for the tests of the files"))]
    pub(super) undo: String,
}

impl Knob {
    /// What is wanted, in words.
    pub(super) fn wanted(&self) -> String {
        if let Some(least) = self.at_least {
            return format!("at least {least}");
        }
        if let Some(least) = self.span_at_least {
            return format!("at least {least} numbers wide");
        }
        self.one_of.join(" or ")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    knob: Vec<Knob>,
}

/// Every knob, in the order of the table.
pub(super) fn all() -> Result<Vec<Knob>, toml::de::Error> {
    toml::from_str::<Table>(TABLE).map(|table| table.knob)
}
