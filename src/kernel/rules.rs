//! Budgets and rate limits as rules: whom they limit, and to what. A snapshot carries them besides the accounts of the callers
//! it knows, so that a shard can tell what a caller it sees for the first time is held to.

use super::{
    account::{Mode, Scope, ScopeKind},
    limiter::Measure,
    money::Nanos,
    window::Period,
};
use std::{collections::HashMap, sync::Arc};

/// Whom a rule limits, as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScopePattern {
    /// `org`.
    Org,
    /// One id.
    One(ScopeKind, String),
    /// `*`: each id for itself, except those with a rule of their own (of budgets: for the same period).
    Each(ScopeKind),
}

/// A rule.
pub trait Rule {
    /// Whom it limits.
    fn whom(&self) -> &ScopePattern;

    /// Does a rule for one id take the place of this one for each?
    fn yields_to(&self, own: &Self) -> bool;
}

/// `[[budget]]`.
#[derive(Clone, Debug)]
pub struct BudgetRule {
    /// Whom it limits.
    pub whom: ScopePattern,
    /// The cap.
    pub amount: Nanos,
    /// How often it starts anew.
    pub period: Period,
    /// What happens at the cap.
    pub mode: Mode,
    /// The operator's words at the cap.
    pub blocked_message: Arc<str>,
}

impl Rule for BudgetRule {
    fn whom(&self) -> &ScopePattern {
        &self.whom
    }

    fn yields_to(&self, own: &Self) -> bool {
        self.period == own.period
    }
}

/// `[[rate_limit]]`.
#[derive(Clone, Debug)]
pub struct LimitRule {
    /// Whom it limits.
    pub whom: ScopePattern,
    /// What is limited, and to how much.
    pub limits: Vec<(Measure, i64)>,
    /// How much of a token read from the prompt cache counts as input, thousandths.
    pub cache_read_permille: u16,
}

impl Rule for LimitRule {
    fn whom(&self) -> &ScopePattern {
        &self.whom
    }

    fn yields_to(&self, _own: &Self) -> bool {
        true
    }
}

/// Rules, found by whom they limit.
pub struct RuleSet<R> {
    rules: Vec<R>,
    own: HashMap<Scope, Vec<usize>>,
    each: Vec<(ScopeKind, usize)>,
}

impl<R> Default for RuleSet<R> {
    fn default() -> Self {
        Self { rules: Vec::new(), own: HashMap::new(), each: Vec::new() }
    }
}

impl<R: Rule> RuleSet<R> {
    /// Takes the rules of a configuration.
    pub fn new(rules: Vec<R>) -> Self {
        let mut set = Self { rules, ..Self::default() };
        for (place, rule) in set.rules.iter().enumerate() {
            match rule.whom() {
                ScopePattern::Org => set.own.entry(Scope::Org).or_default().push(place),
                ScopePattern::One(kind, id) => set.own.entry(Scope::of(*kind, id)).or_default().push(place),
                ScopePattern::Each(kind) => set.each.push((*kind, place)),
            }
        }
        set
    }

    /// The rules that limit a scope.
    pub fn of<'a>(&'a self, scope: &Scope) -> impl Iterator<Item = &'a R> + use<'a, R> {
        let kind = scope.kind();
        let own: &[usize] = self.own.get(scope).map_or(&[], Vec::as_slice);
        let each = self.each.iter().filter(move |(limited, _)| *limited == kind).map(|(_, place)| &self.rules[*place]);
        let rest = each.filter(|rule| !own.iter().any(|place| rule.yields_to(&self.rules[*place])));
        own.iter().map(|place| &self.rules[*place]).chain(rest)
    }

    /// Is there a rule for each of a kind?
    pub fn limits_each(&self, kind: ScopeKind) -> bool {
        self.each.iter().any(|(limited, _)| *limited == kind)
    }

    /// All of them, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.rules.iter()
    }
}

/// The rules of a configuration.
#[derive(Default)]
pub struct Rules {
    /// What may be spent.
    pub budgets: RuleSet<BudgetRule>,
    /// How much may be asked.
    pub limits: RuleSet<LimitRule>,
}

impl Rules {
    /// Are single sessions limited at all? If not, nobody looks for theirs.
    pub fn limit_sessions(&self) -> bool {
        self.budgets.limits_each(ScopeKind::Session) || self.limits.limits_each(ScopeKind::Session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(whom: ScopePattern, period: Period, dollars: i64) -> BudgetRule {
        BudgetRule { whom, amount: Nanos(dollars), period, mode: Mode::Hard, blocked_message: "".into() }
    }

    #[test]
    fn a_rule_of_ones_own_comes_on_top_of_the_one_for_each() {
        let bob = ScopePattern::One(ScopeKind::User, "bob".into());
        let set = RuleSet::new(vec![
            rule(ScopePattern::Each(ScopeKind::User), Period::Daily, 1),
            rule(ScopePattern::Each(ScopeKind::User), Period::Monthly, 2),
            rule(bob, Period::Daily, 3),
            rule(ScopePattern::Org, Period::Total, 4),
            rule(ScopePattern::Each(ScopeKind::Session), Period::Total, 5),
        ]);
        let amounts = |scope: Scope| set.of(&scope).map(|rule| rule.amount.0).collect::<Vec<_>>();
        assert_eq!(amounts(Scope::User("eve".into())), [1, 2]);
        assert_eq!(amounts(Scope::User("bob".into())), [3, 2]);
        assert_eq!(amounts(Scope::Key("bob".into())), [0i64; 0]);
        assert_eq!((amounts(Scope::Org), amounts(Scope::of(ScopeKind::Session, "s"))), (vec![4], vec![5]));
        assert!(set.limits_each(ScopeKind::Session) && !set.limits_each(ScopeKind::Key));
    }
}
