//! What upstreams have refused by name, and requests are therefore sent without: betas, and members of a body that do not change
//! what is asked. By upstream and model, since an account knows for one model what it does not know for another.
//!
//! Shards learn from answers and read without a lock. In memory alone, and for `REPAIR_EXPIRY`: providers learn too, and what is
//! forgotten costs one refused attempt. Bounded: `REPAIRED_MAX` pairs of upstream and model, `REPAIRS_EACH_MAX` names in each; the
//! oldest goes.

use super::{
    limits::{REPAIR_EXPIRY, REPAIRED_MAX, REPAIRS_EACH_MAX},
    names::NameId,
    time::UnixMs,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// What is done about a refusal that names what it refuses (`[repair] mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepairMode {
    /// Nobody looks.
    #[default]
    Off,
    /// It is counted and shown, and reaches the client as it came.
    Observe,
    /// The request is sent once more without it, and later ones without it at once.
    Repair,
}

/// What an upstream refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A value of `anthropic-beta`, or of `anthropic_beta` in a body.
    Beta(Box<str>),
    /// A member of the body.
    Field(&'static str),
}

impl Named {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Beta(name) => name,
            Self::Field(name) => name,
        }
    }

    /// Is it this beta?
    pub fn is_beta(&self, beta: &str) -> bool {
        matches!(self, Self::Beta(name) if **name == *beta)
    }

    /// Is it this member?
    pub fn is_field(&self, field: &str) -> bool {
        matches!(self, Self::Field(name) if *name == field)
    }

    /// `beta` or `field`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Beta(_) => "beta",
            Self::Field(_) => "field",
        }
    }
}

/// What requests to an upstream for a model are sent without.
#[derive(Clone, Debug)]
pub struct Known {
    /// What.
    pub named: Named,
    until: UnixMs,
    counts: Arc<Counts>,
}

impl Known {
    /// A request has been said without it.
    pub fn count(&self) {
        self.counts.left_out.fetch_add(1, Relaxed);
    }
}

#[derive(Debug, Default)]
struct Counts {
    refused: AtomicU64,
    left_out: AtomicU64,
}

struct Page {
    upstream: Box<str>,
    rows: Vec<Known>,
}

/// One line of what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The upstream's name.
    pub upstream: String,
    /// Its name for the model.
    pub model: String,
    /// What it refused.
    pub named: Named,
    /// How often it refused that.
    pub refused: u64,
    /// How often a request was said without it.
    pub left_out: u64,
    /// When it is tried again, unless it is refused until then.
    pub until: UnixMs,
}

/// Everything that was learnt.
#[derive(Default)]
pub struct Repairs {
    table: papaya::HashMap<(NameId, Box<str>), Arc<Page>>,
    pages: AtomicUsize,
}

impl Repairs {
    /// Nothing at all?
    pub fn is_empty(&self) -> bool {
        self.pages.load(Relaxed) == 0
    }

    /// What an upstream is known to refuse for a model.
    pub fn known(&self, upstream: NameId, model: &str, now: UnixMs) -> Vec<Known> {
        let table = self.table.pin();
        let page = table.get(&(upstream, Box::from(model)));
        let rows = page.iter().flat_map(|page| &page.rows);
        rows.filter(|row| row.until > now).cloned().collect()
    }

    /// An upstream, with its name, has refused these for a model.
    pub fn learn(&self, upstream: (NameId, &str), model: &str, named: &[Named], now: UnixMs) {
        let table = self.table.pin();
        let until = UnixMs(now.0.saturating_add(REPAIR_EXPIRY.as_millis() as u64));
        let renewed = |before: Option<&Arc<Page>>| {
            let mut rows: Vec<Known> = before.map(|page| page.rows.clone()).unwrap_or_default();
            rows.retain(|row| row.until > now && !named.contains(&row.named));
            for named in named {
                let old = before.and_then(|page| page.rows.iter().find(|row| row.named == *named));
                let counts = old.map(|row| row.counts.clone()).unwrap_or_default();
                rows.push(Known { named: named.clone(), until, counts });
            }
            // They stand in the order in which they were refused last.
            let over = rows.len().saturating_sub(REPAIRS_EACH_MAX);
            rows.drain(..over);
            Arc::new(Page { upstream: upstream.1.into(), rows })
        };
        let key = (upstream.0, Box::from(model));
        let page = table.update_or_insert_with(key, |page| renewed(Some(page)), || renewed(None));
        for row in page.rows.iter().filter(|row| named.contains(&row.named)) {
            row.counts.refused.fetch_add(1, Relaxed);
        }
        self.forget(now);
    }

    /// Pages that say nothing any more go, and the oldest where there are too many.
    fn forget(&self, now: UnixMs) {
        let table = self.table.pin();
        let newest = |page: &Page| page.rows.iter().map(|row| row.until).max();
        if table.len() > REPAIRED_MAX {
            table.retain(|_, page| newest(page).is_some_and(|until| until > now));
        }
        while table.len() > REPAIRED_MAX {
            let oldest = table.iter().min_by_key(|(_, page)| newest(page)).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            table.remove(&oldest);
        }
        self.pages.store(table.len(), Relaxed);
    }

    /// Everything that holds now, for the operator.
    pub fn rows(&self, now: UnixMs) -> Vec<Row> {
        let table = self.table.pin();
        let mut rows: Vec<Row> = table
            .iter()
            .flat_map(|((_, model), page)| page.rows.iter().map(move |row| (model, page, row)))
            .filter(|(_, _, row)| row.until > now)
            .map(|(model, page, row)| Row {
                upstream: page.upstream.to_string(),
                model: model.to_string(),
                named: row.named.clone(),
                refused: row.counts.refused.load(Relaxed),
                left_out: row.counts.left_out.load(Relaxed),
                until: row.until,
            })
            .collect();
        rows.sort_by(|a, b| (&a.upstream, &a.model, a.named.name()).cmp(&(&b.upstream, &b.model, b.named.name())));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn beta(name: &str) -> Named {
        Named::Beta(name.into())
    }

    fn names(repairs: &Repairs, upstream: NameId, model: &str, now: u64) -> Vec<String> {
        repairs.known(upstream, model, UnixMs(now)).iter().map(|known| known.named.name().to_owned()).collect()
    }

    #[test]
    fn what_was_refused_once_is_left_out_for_ever_or_at_another_upstream() {
        let (repairs, first, second) = (Repairs::default(), NameId(1), NameId(2));
        assert!(repairs.is_empty());
        repairs.learn((first, "first"), "opus", &[beta("a"), Named::Field("speed")], UnixMs(0));
        assert!(!repairs.is_empty());
        assert_eq!(names(&repairs, first, "opus", HOUR - 1), ["a", "speed"]);
        assert!(names(&repairs, second, "opus", 0).is_empty() && names(&repairs, first, "sonnet", 0).is_empty());
        // Refused again it holds again; the other one does not.
        repairs.learn((first, "first"), "opus", &[beta("a")], UnixMs(HOUR / 2));
        assert_eq!(names(&repairs, first, "opus", HOUR), ["a"]);
        repairs.known(first, "opus", UnixMs(HOUR))[0].count();
        let rows = repairs.rows(UnixMs(HOUR));
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].refused, rows[0].left_out, rows[0].until), (2, 1, UnixMs(HOUR / 2 + HOUR)));
        assert_eq!(
            (rows[0].upstream.as_str(), rows[0].model.as_str(), rows[0].named.kind()),
            ("first", "opus", "beta")
        );
        assert!(names(&repairs, first, "opus", HOUR / 2 + HOUR).is_empty());
    }

    #[test]
    fn names_that_clients_think_up_fill_the_memory() {
        let (repairs, upstream) = (Repairs::default(), NameId(1));
        for n in 0..3 * REPAIRS_EACH_MAX {
            repairs.learn((upstream, "u"), "opus", &[beta(&format!("b{n}"))], UnixMs(n as u64));
        }
        let kept = names(&repairs, upstream, "opus", 100);
        assert_eq!(kept.len(), REPAIRS_EACH_MAX);
        assert_eq!(kept.last(), Some(&format!("b{}", 3 * REPAIRS_EACH_MAX - 1)), "the newest stays");
        for n in 0..2 * REPAIRED_MAX {
            repairs.learn((upstream, "u"), &format!("m{n}"), &[beta("b")], UnixMs(1000 + n as u64));
        }
        assert_eq!(repairs.table.len(), REPAIRED_MAX);
        assert!(names(&repairs, upstream, "m0", 2000).is_empty());
        assert_eq!(names(&repairs, upstream, &format!("m{}", 2 * REPAIRED_MAX - 1), 2000), ["b"]);
    }
}
