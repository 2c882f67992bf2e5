//! Reads a HATS catalog, the format of LSDB, as one drop: the tiles of its main table are read, other files are ignored.
//!
//! ```text
//! collection.properties                     hats_primary_table_url names the folder of the main table
//! NAME/hats.properties                      the main table; at the top if there is no collection
//! NAME/dataset/Norder=k/Dir=d/Npix=n.parquet
//! NAME_margin/… NAME_index/…                margins and indexes, which repeat rows of the main table
//! ```

use crate::{Error, Location, listing::names::is_parquet};

/// The file that marks a folder as a collection of a main table, its margins and its indexes.
pub(crate) const COLLECTION: &str = "collection.properties";
/// The sample of rows that HATS stores beside the tiles.
const THUMBNAIL: &str = "data_thumbnail.parquet";

/// The folder of the main table within a drop, empty for the drop itself, or `None` if the drop is not a HATS catalog.
/// `paths` are all paths within the drop, and `folder` is the path of the drop below the catalog.
///
/// # Errors
/// Errors of the store, or [`Error::Mixed`] if the collection does not name its main table.
pub(crate) async fn main_table(
    place: &Location,
    folder: &str,
    paths: &[&str],
) -> Result<Option<String>, Error> {
    if paths.contains(&COLLECTION) {
        return collection(place, folder, paths).await.map(Some);
    }
    let has_tiles = || paths.iter().any(|path| is_tile(path));
    let says_so = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        matches!(
            *path,
            "hats.properties" | "properties" | "catalog_info.json"
        ) || name == THUMBNAIL
    };
    Ok((paths.iter().any(says_so) && has_tiles()).then(String::new))
}

/// Whether an object of the main table is a tile with rows.
pub(crate) fn is_tile(path: &str) -> bool {
    is_parquet(path) && path.split('/').any(|part| part.starts_with("Npix="))
}

/// The folder of the main table of a collection.
async fn collection(place: &Location, folder: &str, paths: &[&str]) -> Result<String, Error> {
    let path = match folder {
        "" => COLLECTION.to_owned(),
        folder => format!("{folder}/{COLLECTION}"),
    };
    let text = place.read(&path).await?;
    let table = primary_table(&String::from_utf8_lossy(&text));
    let is_there = |table: &String| {
        let inside = format!("{table}/");
        paths
            .iter()
            .any(|path| path.starts_with(&inside) && is_tile(path))
    };
    table.filter(is_there).ok_or_else(|| Error::Mixed {
        drop: if folder.is_empty() { place.url.clone() } else { folder.to_owned() },
        reason: format!(
            "{path} says that it is a HATS collection, and its hats_primary_table_url names no table with tiles in it; give the folder of the main table as the catalog"
        ),
    })
}

fn primary_table(properties: &str) -> Option<String> {
    let mut lines = properties.lines().filter_map(|line| line.split_once('='));
    let (_, table) = lines.find(|(key, _)| key.trim() == "hats_primary_table_url")?;
    let table = table.trim().trim_start_matches("./").trim_matches('/');
    (!table.is_empty()).then(|| table.to_owned())
}
