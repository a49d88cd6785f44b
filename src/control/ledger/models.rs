//! Model ids as numbers. Clients choose them, so there is room for so many.

use super::MODELS_MAX;
use crate::observe::names::OTHER;
use std::{collections::HashMap, sync::Arc};

/// The models that cells speak of, by place.
#[derive(Clone, Default)]
pub(super) struct Models {
    list: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32>,
    /// What was asked for last: nearly always what is asked for next.
    last: u32,
}

impl Models {
    /// The place of a model, new or old; that of `other` if there are too many.
    pub fn place(&mut self, text: &str) -> u32 {
        if self.list.get(self.last as usize).is_some_and(|known| **known == *text) {
            return self.last;
        }
        if let Some(place) = self.places.get(text) {
            self.last = *place;
            return *place;
        }
        if text != OTHER && self.list.len() >= MODELS_MAX {
            return self.place(OTHER);
        }
        let (place, text): (_, Arc<str>) = (self.list.len() as u32, text.into());
        self.list.push(text.clone());
        self.places.insert(text, place);
        place
    }

    /// All of them, by place.
    pub fn list(&self) -> &[Arc<str>] {
        &self.list
    }

    pub fn name(&self, place: u32) -> String {
        self.list.get(place as usize).map_or_else(String::new, |model| model.as_ref().into())
    }
}
