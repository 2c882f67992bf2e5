//! What one listing of a whole catalog shows of each drop: its objects, whether its sender says that it is whole, and
//! whether it is as it was when it was last seen.
use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use futures::TryStreamExt;
use object_store::ObjectMeta;
use twox_hash::XxHash3_64;

use crate::{
    Catalog, DropBy, DropListing, Error, Location,
    catalog::{all_in_one, is_name, is_parquet, object_ref, refuse_twins},
    split::ObjectRef,
};

/// The object that says that its folder is whole.
pub const SUCCESS: &str = "_SUCCESS";

/// A drop as a listing shows it.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The drop.
    pub listing: DropListing,
    /// Its `.parquet` objects in the byte order of their paths.
    pub objects: Vec<ObjectRef>,
    /// Whether it is a folder that holds `_SUCCESS`.
    pub is_whole: bool,
    /// Another where anything in it is another: a name, a size, an ETag.
    pub fingerprint: u64,
}

impl Sighting {
    /// The bytes of its `.parquet` objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}

impl Catalog {
    /// Its drops, as [`sightings`] are.
    ///
    /// # Errors
    /// As [`sightings`].
    pub async fn sightings(&self) -> Result<Vec<Sighting>, Error> {
        sightings(self.location(), self.drop_by()).await
    }
}

/// The drops at `location` in the byte order of their names, with all that they hold, by one listing.
///
/// # Errors
/// The store's; where there is nothing, where two drops have one name, and where the name of a catalog that is one drop is no
/// drop's.
pub async fn sightings(location: &Location, drop_by: DropBy) -> Result<Vec<Sighting>, Error> {
    location.check_exists().await?;
    if drop_by == DropBy::All && !is_name(&all_in_one(location)) {
        return Err(Error::Url {
            url: location.url.clone(),
            reason: "as one drop it is named as its folder, and no drop's name begins with `_` or `.`, which readers pass over: rename the folder, or take each child as a drop (--drop-by child)".to_owned(),
        });
    }
    let prefix = Some(&location.prefix).filter(|prefix| !prefix.is_root());
    let listed = location.store.list(prefix).try_collect::<Vec<_>>().await;
    let listed = listed.map_err(|source| Error::store(&location.url, source))?;
    let mut drops: BTreeMap<(String, bool), Vec<(&str, &ObjectMeta)>> = BTreeMap::new();
    for meta in &listed {
        if let Some((drop, is_folder, path)) = place(location, drop_by, meta) {
            let objects = drops.entry((drop, is_folder)).or_default();
            objects.push((path, meta));
        }
    }
    let mut sightings = Vec::new();
    for ((name, is_folder), objects) in drops {
        sightings.push(sight(location, name, is_folder, objects));
    }
    refuse_twins(sightings.iter().map(|sighting| &sighting.listing))?;
    Ok(sightings)
}

/// The drop that an object belongs to, whether that is a folder, and the object's path in it.
fn place<'a>(
    location: &Location,
    drop_by: DropBy,
    meta: &'a ObjectMeta,
) -> Option<(String, bool, &'a str)> {
    let path = location.relative(&meta.location);
    if drop_by == DropBy::All {
        return Some((all_in_one(location), true, path));
    }
    match path.split_once('/') {
        Some((folder, rest)) => is_name(folder).then(|| (folder.to_owned(), true, rest)),
        None => is_parquet(path).then(|| (path.to_owned(), false, path)),
    }
}

fn sight(
    location: &Location,
    name: String,
    is_folder: bool,
    mut objects: Vec<(&str, &ObjectMeta)>,
) -> Sighting {
    objects.sort_unstable_by_key(|(path, _)| path.as_bytes());
    let mut hasher = XxHash3_64::new();
    for (path, meta) in &objects {
        (path, &meta.e_tag, meta.size).hash(&mut hasher);
    }
    let parquet = objects.iter().filter(|(path, _)| is_parquet(path));
    let parquet: Vec<ObjectRef> = parquet
        .map(|(_, meta)| object_ref(location, meta))
        .collect();
    Sighting {
        listing: DropListing {
            name,
            object: parquet.first().filter(|_| !is_folder).cloned(),
        },
        objects: parquet,
        is_whole: is_folder && objects.iter().any(|(path, _)| *path == SUCCESS),
        fingerprint: hasher.finish(),
    }
}
