//! How dispensable a request is, in its client's own words (`x-claude-code-request-class`, contract.md §3.3).
//!
//! The header is a label without authority: it can only lower the priority of the request that carries it. So a request
//! without one, or with one that nobody knows yet, is as important as the most important: older clients and SDKs send none,
//! and to claim to be `main` wins nothing over saying nothing.

/// The class of a request, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A person waits for it: `main`, `compaction`, and whatever says nothing or something new.
    #[default]
    Main,
    /// Work that was handed on: `subagent`, `workflow`.
    Subagent,
    /// Titles, summaries, guesses: `auxiliary`.
    Auxiliary,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them, in their order.
    pub const ALL: [Self; Self::COUNT] = [Self::Main, Self::Subagent, Self::Auxiliary];

    /// The class that a label means.
    pub fn of(label: &str) -> Self {
        match label {
            "subagent" | "workflow" => Self::Subagent,
            "auxiliary" => Self::Auxiliary,
            _ => Self::Main,
        }
    }

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Subagent => "subagent",
            Self::Auxiliary => "auxiliary",
        }
    }
}

/// From which fullness on a class is turned away, per cent. `Main` is never turned away before there is no room at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shedding {
    /// Work that was handed on.
    pub subagent_percent: u8,
    /// What is dispensable.
    pub auxiliary_percent: u8,
}

impl Default for Shedding {
    fn default() -> Self {
        Self { subagent_percent: 90, auxiliary_percent: 80 }
    }
}

impl Shedding {
    /// Is a request of this class turned away while `used` of `most` are in use? 100 per cent means never, since what is full
    /// refuses by itself.
    pub fn sheds(&self, class: Class, used: usize, most: usize) -> bool {
        let percent = match class {
            Class::Main => return false,
            Class::Subagent => self.subagent_percent,
            Class::Auxiliary => self.auxiliary_percent,
        };
        percent < 100 && used as u128 * 100 >= most as u128 * u128::from(percent)
    }
}
