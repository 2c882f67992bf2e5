//! Replays of small catalogs in memory.
mod columns;
mod passes;
mod ranges;

use connectors::{DropBy, Location, galaxy::ColumnNames};

use super::{Choice, ReplayedCatalog, replay};
use crate::Error;

/// All files of a catalog whose children are drops.
fn all() -> Choice {
    Choice {
        drop_by: DropBy::Child,
        drops: Vec::new(),
        names: ColumnNames::default(),
    }
}

async fn opened(place: &Location, choice: Choice, bytes: u64) -> Result<Location, Error> {
    let catalog = ReplayedCatalog::new(place.clone(), choice, bytes).await;
    catalog.map(replay)
}

/// A replay of all files.
async fn replayed(place: &Location, bytes: u64) -> Location {
    opened(place, all(), bytes).await.unwrap()
}
