//! Allow lists: which model ids a key may use. Patterns are literal text with `*` for any run of characters.

/// One pattern of an allow list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Takes the pattern as written in the configuration.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the pattern cover this whole text? Linear in both, without recursion: a star remembers where to resume.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut resume: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                resume = Some((p + 1, t));
                p += 1;
            } else if pattern.get(p) == Some(&text[t]) {
                (p, t) = (p + 1, t + 1);
            } else if let Some((after_star, from)) = resume {
                (p, t) = (after_star, from + 1);
                resume = Some((after_star, from + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|b| *b == b'*')
    }
}

/// An allow list; an absent one allows all.
#[derive(Clone, Debug, Default)]
pub struct AllowList(Option<Box<[Pattern]>>);

impl AllowList {
    /// Everything is allowed.
    pub fn everything() -> Self {
        Self(None)
    }

    /// Only what a pattern covers.
    pub fn of(patterns: Vec<Pattern>) -> Self {
        Self(Some(patterns.into()))
    }

    /// May this model be used?
    pub fn allows(&self, model: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|p| p.matches(model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_does_not_let_other_models_through() {
        let p = Pattern::new("claude-*-5");
        assert!(p.matches("claude-opus-5") && p.matches("claude--5"));
        assert!(!p.matches("claude-opus-5-5x") && !p.matches("xclaude-opus-5"));
        assert!(Pattern::new("*").matches("") && Pattern::new("a*b*c").matches("a-bb-b-c"));
        assert!(!Pattern::new("claude-opus-5").matches("claude-opus-5-5"));
        assert!(!AllowList::of(vec![]).allows("x"));
    }
}
