//! Memory of lists that are over, for lists to come. What a request holds at the gate is a list of one to some dozen places, as
//! long as the request runs: kept within the request each would take room for the most there can be, and be moved with it.

/// Lists kept, at most: after a burst the rest goes back.
const KEPT_MAX: usize = 256;

/// Empty lists that have memory already.
pub(super) struct Spare<T>(Vec<Vec<T>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Spare<T> {
    /// An empty list.
    pub fn take(&mut self) -> Vec<T> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes back the memory of a list.
    pub fn put(&mut self, mut list: Vec<T>) {
        if list.capacity() > 0 && self.0.len() < KEPT_MAX {
            list.clear();
            self.0.push(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_given_back_keeps_what_was_in_it_or_loses_its_memory() {
        let mut spare = Spare::default();
        spare.put(Vec::new());
        let mut list = spare.take();
        assert_eq!(list.capacity(), 0, "what has no memory is not kept");
        list.extend([1, 2, 3]);
        let memory = list.as_ptr();
        spare.put(list);
        let again = spare.take();
        assert!(again.is_empty() && again.as_ptr() == memory);
        for _ in 0..2 * KEPT_MAX {
            spare.put(Vec::with_capacity(1));
        }
        assert_eq!(spare.0.len(), KEPT_MAX);
    }
}
