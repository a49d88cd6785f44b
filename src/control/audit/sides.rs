//! Proving side chains: what a process writes that has been replaced, until all of it is in the journal (`control::journal`).

use super::AuditError;
use crate::{
    control::journal::{GroupPlace, Joined, JournalError, Visit, Walk, side_chains},
    kernel::{names::Names, record::Entry},
};
use std::{collections::BTreeMap, io, ops::ControlFlow, path::Path, sync::Arc};

#[derive(Default)]
struct Count(u64);

impl Visit for Count {
    fn entry(&mut self, _entry: Option<Entry>) {}

    fn group(&mut self, _place: &GroupPlace, entries: u64) -> Result<ControlFlow<()>, String> {
        self.0 += entries;
        Ok(ControlFlow::Continue(()))
    }
}

/// Walks each side chain there is, and looks whether it still holds what the journal says has come over from it. Returns what is
/// to be known of them. One that is removed meanwhile has come over.
pub(super) fn verify_sides(
    store: &Path,
    joined: &BTreeMap<String, Joined>,
) -> Result<Vec<String>, Result<AuditError, JournalError>> {
    let mut notes = Vec::new();
    for name in side_chains(store).map_err(|error| Ok(error.into()))? {
        match verify_side(&store.join(&name), joined.get(&name)) {
            Ok((entries, waiting)) => notes.push(format!(
                "{name} is the chain of a process that has been replaced: {entries} entries, all whole, {waiting} of them not yet in \
                 the journal"
            )),
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Err(error)),
        }
    }
    Ok(notes)
}

fn verify_side(directory: &Path, joined: Option<&Joined>) -> Result<(u64, u64), JournalError> {
    let names = Arc::new(Names::default());
    let (mut all, mut waiting) = (Count::default(), Count::default());
    Walk::new(directory, names.clone()).run(&mut all)?;
    match joined {
        Some(joined) => Walk::new(directory, names).resume(joined.place).run(&mut waiting)?,
        None => Walk::new(directory, names).run(&mut waiting)?,
    };
    Ok((all.0, waiting.0))
}
