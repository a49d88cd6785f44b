//! What a request has done with, kept for those to come with the memory it has. A request's lists and scanners live as long as it runs:
//! within its future each would take room for the most there can be, made anew each would be an allocation.

use crate::{
    kernel::limits::SPARE_MAX,
    wire::{h1::ResponseHead, json::TopLevelScanner},
};
use std::cell::RefCell;

/// Things of a kind that wait for their next use, last in first out.
pub struct Spare<T>(Vec<T>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Spare<T> {
    /// One that has been used, as it was given back.
    pub fn take(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Keeps one.
    pub fn put(&mut self, used: T) {
        if self.0.len() < SPARE_MAX {
            self.0.push(used);
        }
    }
}

impl<T> Spare<Vec<T>> {
    /// An empty list.
    pub fn list(&mut self) -> Vec<T> {
        self.take().unwrap_or_default()
    }

    /// Keeps the memory of a list.
    pub fn keep(&mut self, mut list: Vec<T>) {
        if list.capacity() > 0 {
            list.clear();
            self.put(list);
        }
    }
}

/// What a shard keeps for the relay.
#[derive(Default)]
pub struct Spares {
    /// Heads of answers.
    pub heads: RefCell<Spare<ResponseHead>>,
    /// Scanners of answers that are not streamed; each is to be reset before it is used.
    pub scanners: RefCell<Spare<Box<TopLevelScanner>>>,
    /// Heads of answers on their way to the client.
    pub lines: RefCell<Spare<Vec<u8>>>,
    /// Where a head is put together before its length is known.
    pub text: RefCell<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_given_back_keeps_what_was_in_it_or_loses_its_memory() {
        let mut spare = Spare::default();
        spare.keep(Vec::new());
        let mut list = spare.list();
        assert_eq!(list.capacity(), 0, "what has no memory is not kept");
        list.extend([1, 2, 3]);
        let memory = list.as_ptr();
        spare.keep(list);
        let again = spare.list();
        assert!(again.is_empty() && again.as_ptr() == memory);
        for _ in 0..2 * SPARE_MAX {
            spare.keep(Vec::with_capacity(1));
        }
        assert_eq!(spare.0.len(), SPARE_MAX);
    }
}
