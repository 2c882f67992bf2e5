//! What a run has to do: the drops of the catalog that the ledger does not have.
use connectors::{DropListing, Ledger, ListedDrop, ListedDrops, listed_drop::ignored_line};

use crate::{Error, changed::Changed, plan::Plan};

/// A drop that is to be taken, and its entry in the ledger.
pub struct Pending {
    /// The drop.
    pub listing: DropListing,
    /// The bytes of its objects.
    pub bytes: u64,
    /// Its entry, if the drop is committed and taken again.
    pub replaces: Option<u64>,
}

/// What there is to do.
#[derive(Default)]
pub struct Todo {
    /// The drops to take, in order.
    pub pending: Vec<Pending>,
    /// The drops that are not what was committed any more.
    pub changed: Vec<Changed>,
    /// What else the user should know: an empty catalog, files that are ignored.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether nothing is left to do now.
    ///
    /// # Errors
    /// Those of the catalog and of the ledger, and of [`Plan::todo`].
    pub(crate) async fn is_done(&self) -> Result<bool, Error> {
        let listed_drops = self.catalog.list_drops().await?;
        let ledger = Ledger::open(self.output.location()).await?;
        Ok(self.todo(&ledger, listed_drops)?.pending.is_empty())
    }

    /// The drops to take, in order, and those that have changed since they were committed.
    ///
    /// # Errors
    /// [`Error::NoDrop`] if a drop that was asked for is not among the `listed_drops`.
    pub fn todo(&self, ledger: &Ledger, listed_drops: ListedDrops) -> Result<Todo, Error> {
        self.check_names(&listed_drops.drops)?;
        let mut todo = Todo {
            warnings: self.warnings(&listed_drops),
            ..Todo::default()
        };
        for listed_drop in listed_drops.drops {
            if !self.wants(&listed_drop.listing) {
                continue;
            }
            let entry = ledger.newest(&listed_drop.listing.name);
            if !self.is_pending(entry) {
                todo.changed.extend(self.changed(entry, &listed_drop));
            } else if !listed_drop.is_drop() {
                let name = &listed_drop.listing.name;
                let warning = format!("{name} holds no Parquet object and is no drop");
                todo.warnings.push(warning);
                todo.warnings.extend(listed_drop.ignored_line());
            } else {
                todo.warnings.extend(listed_drop.ignored_line());
                todo.pending.push(Pending {
                    bytes: listed_drop.bytes(),
                    listing: listed_drop.listing,
                    replaces: entry.map(|entry| entry.sequence),
                });
            }
        }
        Ok(todo)
    }

    /// What is wrong with the catalog as a whole.
    fn warnings(&self, listed_drops: &ListedDrops) -> Vec<String> {
        let url = &self.catalog.location().url;
        let pattern = if url.contains(['*', '?', '[']) {
            " (`*`, `?` and `[` stand for themselves: give the prefix, and --drop for some of its drops)"
        } else {
            ""
        };
        let empty = listed_drops.drops.is_empty().then(|| {
            format!("{url} holds no drop: no folder and no Parquet object; check the URL{pattern}")
        });
        let beside = ignored_line(&listed_drops.ignored).map(|line| format!("{url}: {line}"));
        empty.into_iter().chain(beside).collect()
    }

    /// Makes sure that the drops that were asked for are there.
    fn check_names(&self, listed_drops: &[ListedDrop]) -> Result<(), Error> {
        let there = |drop: &str| {
            listed_drops
                .iter()
                .any(|listed_drop| listed_drop.listing.name == drop)
        };
        let Some(missing) = self.drops.iter().find(|drop| !there(drop)) else {
            return Ok(());
        };
        let known = listed_drops.iter();
        Err(Error::NoDrop {
            place: self.catalog.location().url.clone(),
            drop: missing.clone(),
            known: known.map(|drop| drop.listing.name.clone()).collect(),
        })
    }
}
