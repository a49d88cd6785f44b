//! A start from a snapshot must give what a start from the beginning gives, or say that it did not.

mod choice;
mod equal;

use super::{
    super::{Dimension, Ledger, RecordFilter, UsageQuery},
    *,
};
use crate::{
    control::journal::{
        DiskStorage, Journal, JournalOptions, JournalState,
        tests::{append_at, open_of, options, record_of, state_after},
    },
    kernel::{
        account::Scope,
        money::Nanos,
        record::{Entry, Outcome, Record},
        time::UnixMs,
        usage::Usage,
        window::Window,
    },
};

/// Everything that a ledger can be asked, in words.
fn told(ledger: &Ledger) -> String {
    let image = ledger.image();
    let mut out = String::new();
    let mut ask = |group_by: Vec<Dimension>| {
        let mut rows: Vec<String> = image
            .usage(&UsageQuery { group_by: group_by.clone(), ..UsageQuery::default() })
            .iter()
            .map(|row| format!("{row:?}\n"))
            .collect();
        rows.sort();
        out += &format!("{group_by:?}\n{}", rows.concat());
    };
    ask(Vec::new());
    ask(vec![Dimension::Minute]);
    Dimension::ALL.into_iter().for_each(|dimension| ask(vec![dimension]));
    ask(vec![Dimension::Session, Dimension::Hour]);
    ask(Dimension::ALL.into());
    for scope in [Scope::Org, Scope::Team("platform".into()), Scope::Key("k1".into()), Scope::User(String::new())] {
        out += &format!("{scope} {}\n", ledger.spent(&scope, Window::ALWAYS));
    }
    let all = RecordFilter { limit: 10_000, ..RecordFilter::default() };
    out += &format!("{:?}\n{} {:?}", image.requests(&all), ledger.refused(), image.detail());
    out
}

/// Opens the journal of a directory as a start does; what the ledger says then, and how many records had to be replayed.
fn start(directory: &Path, snapshots: bool, cells_max: usize) -> (String, u64) {
    let names = Arc::new(Names::default());
    let store = Store::take(directory).unwrap();
    let restored = match snapshots {
        true => read(directory, CURRENT, &names, cells_max).ok(),
        false => None,
    };
    let (mut ledger, resume) = match restored {
        Some((ledger, resume)) => (ledger, Some(resume)),
        None => (Ledger::bounded(names.clone(), cells_max), None),
    };
    let storage = Box::new(DiskStorage::new(directory));
    let (_journal, replay) =
        Journal::open_at(store, options(directory, &names), storage, resume, |record| ledger.apply(record)).unwrap();
    (told(&ledger), replay.records + replay.orphans.len() as u64)
}

/// A directory with the same files.
fn copy(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// A journal with its ledger, as a running gateway has them.
struct Running {
    directory: tempfile::TempDir,
    names: Arc<Names>,
    journal: Journal,
    ledger: Ledger,
    entries: Vec<Entry>,
}

impl Running {
    fn new(segment_bytes_max: u64, cells_max: usize) -> Self {
        let (directory, names) = (tempfile::tempdir().unwrap(), Arc::new(Names::default()));
        let opts = JournalOptions { segment_bytes_max, ..options(directory.path(), &names) };
        let (journal, _) = Journal::open(opts, |_| ()).unwrap();
        let ledger = Ledger::bounded(names.clone(), cells_max);
        Self { directory, names, journal, ledger, entries: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes one group. A second close of a request is written, but not booked.
    fn group(&mut self, entries: &[Entry]) {
        append_at(&mut self.journal, entries, UnixMs(1_763_700_000_000));
        for entry in entries {
            let id_of = |entry: &Entry| match entry {
                Entry::Close(record) => Some(record.request_id),
                Entry::Open(_) => None,
            };
            let again = self.entries.iter().any(|known| id_of(known).is_some() && id_of(known) == id_of(entry));
            if let (Entry::Close(record), false) = (entry, again) {
                self.ledger.apply(record);
            }
            self.entries.push(entry.clone());
        }
    }

    fn state(&self) -> JournalState {
        state_after(&self.journal, &self.entries)
    }

    fn snapshot(&self) {
        self.snapshot_kept(true);
    }

    fn snapshot_kept(&self, kept: bool) {
        let (image, state) = (self.ledger.image(), self.state());
        file::write(self.path(), kept, |out| body::encode(&image, &state, out)).unwrap();
    }

    /// Ends as a `kill -9` would: what is on disk is what there is.
    fn end(self) -> tempfile::TempDir {
        self.directory
    }
}
