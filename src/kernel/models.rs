//! What clients may ask for, and which upstreams serve it.

use super::ids::UpstreamIx;
use std::collections::HashMap;

/// One upstream that serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub upstream: UpstreamIx,
    /// The id to ask it for, where it differs from what the client wrote.
    pub model: Option<Box<str>>,
    /// Share of the traffic under `weighted`.
    pub weight: u32,
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that works.
    #[default]
    Ordered,
    /// By weight.
    Weighted,
    /// By session.
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
    index: HashMap<Box<str>, u32>,
    passthrough: Option<Target>,
}

impl ModelTable {
    /// Builds the table. Ids and aliases are unique (the configuration is checked); `passthrough` serves ids not listed.
    pub fn new(models: Vec<Model>, passthrough: Option<Target>) -> Self {
        let mut index = HashMap::new();
        for (place, model) in models.iter().enumerate() {
            for id in std::iter::once(&model.id).chain(&model.aliases) {
                index.insert(id.clone(), place as u32);
            }
        }
        Self { models, index, passthrough }
    }

    /// The targets of a model id, in the order of the configuration; `None` if nobody serves it.
    pub fn targets(&self, id: &str) -> Option<&[Target]> {
        match self.get(id) {
            Some(model) => Some(&model.targets),
            None => self.passthrough.as_ref().map(std::slice::from_ref),
        }
    }

    /// The listed model that an id or alias means.
    pub fn get(&self, id: &str) -> Option<&Model> {
        self.index.get(id).and_then(|place| self.models.get(*place as usize))
    }

    /// All listed models.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// Are ids that are not listed served too?
    pub fn passes_unlisted(&self) -> bool {
        self.passthrough.is_some()
    }
}
