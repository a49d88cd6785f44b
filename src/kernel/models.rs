//! What clients may ask for, and which upstreams serve it.

use super::{
    ids::{Mixing, UpstreamIx},
    pricing::canonical,
    routing::hash,
};
use std::collections::HashMap;

/// One upstream that serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub upstream: UpstreamIx,
    /// The id to ask it for, where it differs from what the client wrote.
    pub model: Option<Box<str>>,
    /// Share of the traffic among targets of its rank.
    pub weight: Weight,
    /// Later ranks are asked when earlier ones take nothing. Targets stand in the order of their ranks.
    pub rank: u16,
    /// The upstream's number in races, the same on every machine, over every reload and for every model: a session that asks
    /// several models stays on one account.
    pub salt: u64,
    /// Its own number, over every reload: a hash of upstream, listed model and the id to ask for.
    pub identity: u64,
    /// Its place among all targets of the snapshot.
    pub place: TargetIx,
}

/// A share of the traffic, and what races divide by it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    share: u32,
    inverse: u32,
}

impl Weight {
    /// A share of 0 is one of 1: a target that is to get nothing is not in the list.
    pub fn new(share: u32) -> Self {
        let share = share.max(1);
        Self { share, inverse: u32::MAX / share }
    }

    /// The share.
    pub fn share(self) -> u32 {
        self.share
    }

    /// One by the share, in units of 2^-32, and never more than that.
    pub fn inverse(self) -> u32 {
        self.inverse
    }
}

/// Position of a target among all targets of one snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TargetIx(pub u32);

impl Target {
    /// A target of rank 0 with a weight of 1. `listed`: the model it serves; `nth`: how many targets before it in that model's
    /// list are the same upstream's.
    pub fn new(upstream: UpstreamIx, upstream_name: &str, listed: &str, model: Option<&str>, nth: usize) -> Self {
        let salt = hash::bytes(nth as u64, upstream_name.as_bytes()).max(1);
        let identity = hash::bytes(hash::bytes(salt, listed.as_bytes()), model.unwrap_or("").as_bytes());
        Self {
            upstream,
            model: model.map(Into::into),
            weight: Weight::new(1),
            rank: 0,
            salt,
            identity,
            place: TargetIx(0),
        }
    }
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that works.
    #[default]
    Ordered,
    /// By weight.
    Weighted,
    /// The less busy of two.
    LeastBusy,
    /// By session, so that prompt caches hit; requests without one go to the less busy of two.
    Affinity,
}

/// One model of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its id.
    pub id: Box<str>,
    /// Other ids that mean it.
    pub aliases: Vec<Box<str>>,
    /// Who serves it, at least one.
    pub targets: Vec<Target>,
    /// How one is chosen.
    pub strategy: Strategy,
}

/// All models of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct ModelTable {
    models: Vec<Model>,
    // Clients ask for any id, but what is in the table is the configuration's.
    index: HashMap<Box<str>, u32, Mixing>,
    /// By the name that a price table knows, for ids in another platform's spelling. `None`: two models would fit.
    by_name: HashMap<Box<str>, Option<u32>>,
    passthrough: Vec<Target>,
    accounts: Vec<Target>,
    target_count: usize,
}

impl ModelTable {
    /// Builds the table. Ids and aliases are unique (the configuration is checked); `passthrough` serves ids not listed.
    pub fn new(mut models: Vec<Model>, mut passthrough: Vec<Target>) -> Self {
        let mut index = HashMap::default();
        let mut target_count = 0;
        for target in models.iter_mut().flat_map(|model| &mut model.targets).chain(&mut passthrough) {
            target.place = TargetIx(target_count as u32);
            target_count += 1;
        }
        for (place, model) in models.iter().enumerate() {
            for id in std::iter::once(&model.id).chain(&model.aliases) {
                index.insert(id.clone(), place as u32);
            }
        }
        let mut by_name: HashMap<Box<str>, Option<u32>> = HashMap::new();
        for (id, place) in &index {
            let found = by_name.entry(canonical(id).into()).or_insert(Some(*place));
            if *found != Some(*place) {
                *found = None;
            }
        }
        Self { models, index, by_name, passthrough, accounts: Vec::new(), target_count }
    }

    /// The same, with the accounts that keep batches and files, in the order of the configuration.
    #[must_use]
    pub fn with_accounts(mut self, mut accounts: Vec<Target>) -> Self {
        for target in &mut accounts {
            target.place = TargetIx(self.target_count as u32);
            self.target_count += 1;
        }
        Self { accounts, ..self }
    }

    /// The accounts that keep batches and files, one target each.
    pub fn accounts(&self) -> &[Target] {
        &self.accounts
    }

    /// The targets of a model id, in the order of the configuration; of an id that is not listed, one for each format. `None` if
    /// nobody serves it.
    pub fn targets(&self, id: &str) -> Option<&[Target]> {
        self.targets_of(self.get(id))
    }

    /// The same, of an id that [`ModelTable::get`] has found this for.
    pub fn targets_of<'a>(&'a self, known: Option<&'a Model>) -> Option<&'a [Target]> {
        match known {
            Some(model) => Some(&model.targets),
            None => Some(&*self.passthrough).filter(|targets| !targets.is_empty()),
        }
    }

    /// How many targets there are in all.
    pub fn target_count(&self) -> usize {
        self.target_count
    }

    /// Every target, in the order of their places.
    pub fn all_targets(&self) -> impl Iterator<Item = &Target> {
        self.models.iter().flat_map(|model| &model.targets).chain(&self.passthrough).chain(&self.accounts)
    }

    /// The listed model that an id or alias means; an id that nobody listed may be another platform's spelling of one.
    pub fn get(&self, id: &str) -> Option<&Model> {
        let place = self.index.get(id).copied().or_else(|| *self.by_name.get(canonical(id))?)?;
        self.models.get(place as usize)
    }

    /// All listed models.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// Are ids that are not listed served too?
    pub fn passes_unlisted(&self) -> bool {
        !self.passthrough.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, aliases: &[&str]) -> Model {
        let aliases = aliases.iter().map(|alias| Box::from(*alias)).collect();
        Model { id: id.into(), aliases, targets: Vec::new(), strategy: Strategy::Ordered }
    }

    #[test]
    fn a_platforms_spelling_finds_its_model_and_two_that_fit_are_not_guessed_between() {
        let table = ModelTable::new(
            vec![
                model("claude-sonnet-4-5", &["sonnet"]),
                model("claude-opus-5", &[]),
                model("us.anthropic.claude-haiku-5-5", &[]),
                model("eu.anthropic.claude-haiku-5-5", &[]),
            ],
            Vec::new(),
        );
        let id = |asked: &str| table.get(asked).map(|found| found.id.to_string());
        for asked in ["sonnet", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5@20250929"] {
            assert_eq!(id(asked).as_deref(), Some("claude-sonnet-4-5"), "{asked}");
        }
        assert_eq!(id("us.anthropic.claude-haiku-5-5").as_deref(), Some("us.anthropic.claude-haiku-5-5"));
        assert_eq!(id("claude-haiku-5-5"), None);
        assert_eq!(id("claude-opus-5-5"), None);
    }
}
