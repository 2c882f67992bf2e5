//! The drops that a training reads.
use connectors::{Catalog, DropListing};

use super::settings::TrainSettings;
use crate::Error;

/// The drops of the catalog that the settings ask for, in the order of their names.
pub(super) async fn drops_to_read(
    catalog: &Catalog,
    settings: &TrainSettings,
) -> Result<Vec<DropListing>, Error> {
    let mut drops = catalog.drops().await?;
    let is_there = |name: &String| drops.iter().any(|drop| drop.name == *name);
    if let Some(missing) = settings.drops.iter().find(|name| !is_there(name)) {
        return Err(Error::NoDrop {
            place: settings.catalog.clone(),
            drop: missing.clone(),
            known: Vec::new(),
        });
    }
    drops.retain(|drop| settings.drops.is_empty() || settings.drops.contains(&drop.name));
    Ok(drops)
}
