//! Groups the objects of a listing into drops. A listed drop has its objects, its ignored files and its faults. It says
//! whether the sender has marked the drop as complete, and has a fingerprint that changes with the drop.
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use object_store::ObjectMeta;
use twox_hash::XxHash3_64;

use crate::{
    Error, Location,
    listing::{
        drop_listing::{DropBy, DropListing},
        hats, list,
        listed::{Fault, Listed, Part},
        names::{all_in_one, is_name, is_parquet, object_ref},
    },
    store::{etag::version, object_ref::ObjectRef},
};

/// The name of the object by which a sender marks a folder as complete.
pub const SUCCESS: &str = "_SUCCESS";

/// Files that tools write beside Parquet files. They hold no rows, and are ignored without a message.
const SIDE_FILES: [&str; 8] = [
    "properties",
    "hats.properties",
    hats::COLLECTION,
    "partition_info.csv",
    "partition_join_info.csv",
    "catalog_info.json",
    "provenance_info.json",
    "point_map.fits",
];

/// A drop as a listing shows it, with its objects.
#[derive(Clone, Debug)]
pub struct ListedDrop {
    /// The drop.
    pub listing: DropListing,
    /// The Parquet objects in the byte order of their paths.
    pub objects: Vec<ObjectRef>,
    /// Files of the drop that are not read, by their paths below the catalog. Side files without rows are left out.
    pub ignored: Vec<String>,
    /// Whether the drop is a folder with `_SUCCESS`, and no file in it is newer than `_SUCCESS`.
    pub is_whole: bool,
    /// Hash of all names, sizes and ETags. It changes when any of them does.
    pub fingerprint: u64,
}

/// The drops of a catalog, as one listing shows them.
#[derive(Clone, Debug, Default)]
pub struct ListedDrops {
    /// The drops, in the byte order of their names.
    pub drops: Vec<ListedDrop>,
    /// Files beside the drops that are not read.
    pub ignored: Vec<String>,
}

impl ListedDrop {
    /// The size of all Parquet objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }

    /// Whether the drop has objects or a fault.
    pub fn is_drop(&self) -> bool {
        !self.objects.is_empty() || self.listing.fault.is_some()
    }

    /// One line on the ignored files, or `None` if no file is ignored.
    pub fn ignored_line(&self) -> Option<String> {
        let line = ignored_line(&self.ignored)?;
        Some(format!("drop {}: {line}", self.listing.name))
    }
}

/// One line on the ignored files that names the first of them, or `None` if no file is ignored.
pub fn ignored_line(ignored: &[String]) -> Option<String> {
    const NAMED: usize = 10;
    let (count, names) = (ignored.len(), ignored.iter().take(NAMED).cloned());
    let names = names.collect::<Vec<_>>().join(", ");
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let files = match count {
        1 => "1 file is".to_owned(),
        count => format!("{count} files are"),
    };
    (count > 0).then(|| {
        format!(
            "{files} ignored: {names}{more}; rows are read from names that end in .parquet, .parq, .pq or .pqt"
        )
    })
}

/// Lists the drops at `location` with their objects, in the byte order of their names.
///
/// # Errors
/// - Errors of the store
/// - [`Error::NotFound`] if there is no such folder
/// - [`Error::Url`] if the place is a file, or cannot be listed with this `drop_by`
pub async fn list_drops(location: &Location, drop_by: DropBy) -> Result<ListedDrops, Error> {
    check_is_folder(location).await?;
    if drop_by == DropBy::All && !is_name(&all_in_one(location)) {
        return Err(Error::Url {
            url: location.url.clone(),
            reason: "as one drop it has the name of its folder, and the name of a drop must not begin with `_` or `.`, because readers ignore such names: rename the folder, or take each child as a drop (--drop-by child)".to_owned(),
        });
    }
    let listed = list(location, Part::All).await?;
    let is_collection = |meta: &ObjectMeta| location.relative(&meta.location) == hats::COLLECTION;
    if drop_by == DropBy::Child && listed.objects.iter().any(is_collection) {
        return Err(Error::Url {
            url: location.url.clone(),
            reason: format!(
                "holds {}, so it is a HATS collection, whose margins and indexes are not drops; take its main table as one drop (--drop-by all)",
                hats::COLLECTION
            ),
        });
    }
    let is_empty = listed.objects.is_empty() && listed.faults.is_empty();
    if is_empty && is_object(location).await {
        return Err(not_a_folder(location));
    }
    group(location, drop_by, listed).await
}

/// The drops below a prefix in the byte order of their names. A folder is a drop if it holds a Parquet object or a fault.
///
/// # Errors
/// The errors of [`list_drops`].
pub async fn drops(location: &Location, drop_by: DropBy) -> Result<Vec<DropListing>, Error> {
    let listed = list_drops(location, drop_by).await?.drops.into_iter();
    let with_rows = listed.filter(ListedDrop::is_drop);
    Ok(with_rows.map(|drop| drop.listing).collect())
}

/// Refuses a place on this machine that does not exist or is a file.
async fn check_is_folder(location: &Location) -> Result<(), Error> {
    location.check_exists().await?;
    let Some(folder) = &location.folder else {
        return Ok(());
    };
    match tokio::fs::metadata(folder).await {
        Ok(metadata) if !metadata.is_dir() => Err(not_a_folder(location)),
        _ => Ok(()),
    }
}

async fn is_object(location: &Location) -> bool {
    use object_store::ObjectStoreExt;
    location.folder.is_none()
        && !location.prefix.is_root()
        && location.store.head(&location.prefix).await.is_ok()
}

fn not_a_folder(location: &Location) -> Error {
    Error::Url {
        url: location.url.clone(),
        reason: "is a file, and a catalog is the folder or prefix that holds the drops; give the folder that the file is in".to_owned(),
    }
}

/// Objects and faults of one drop.
#[derive(Default)]
struct Held<'a> {
    /// Whether the drop is a folder, and whether there is an object of the same name.
    is_folder: bool,
    is_object: bool,
    objects: Vec<(&'a str, &'a ObjectMeta)>,
    faults: Vec<&'a Fault>,
}

/// Groups the result of a listing by drop.
pub(crate) async fn group(
    location: &Location,
    drop_by: DropBy,
    listed: Listed,
) -> Result<ListedDrops, Error> {
    let (mut drops, mut ignored): (BTreeMap<String, Held<'_>>, _) = Default::default();
    for meta in &listed.objects {
        let path = location.relative(&meta.location);
        let (name, path, is_folder) = match (drop_by, path.split_once('/')) {
            (DropBy::All, _) => (all_in_one(location), path, true),
            (DropBy::Child, Some((folder, rest))) => (folder.to_owned(), rest, true),
            (DropBy::Child, None) => (path.to_owned(), path, false),
        };
        if !is_name(&name) {
            continue;
        }
        if !is_folder && !is_parquet(path) {
            if !is_side_file(path, meta.size) {
                Vec::push(&mut ignored, path.to_owned());
            }
            continue;
        }
        let held = drops.entry(name).or_default();
        held.is_folder |= is_folder;
        held.is_object |= !is_folder;
        held.objects.push((path, meta));
    }
    for fault in &listed.faults {
        let name = match drop_by {
            DropBy::All => all_in_one(location),
            DropBy::Child => fault.path.split('/').next().unwrap_or_default().to_owned(),
        };
        let name = if name.is_empty() {
            "(no name)".to_owned()
        } else {
            name
        };
        drops.entry(name).or_default().faults.push(fault);
    }
    let mut listed_drops = Vec::new();
    for (name, held) in drops {
        listed_drops.push(listed_drop(location, drop_by, name, held).await?);
    }
    Ok(ListedDrops {
        drops: listed_drops,
        ignored,
    })
}

async fn listed_drop(
    location: &Location,
    drop_by: DropBy,
    name: String,
    held: Held<'_>,
) -> Result<ListedDrop, Error> {
    let Held {
        is_folder,
        is_object,
        mut objects,
        faults,
    } = held;
    objects.sort_unstable_by_key(|(path, _)| path.as_bytes());
    let mut hasher = XxHash3_64::new();
    for (path, meta) in &objects {
        (path, version(meta), meta.size).hash(&mut hasher);
    }
    for fault in &faults {
        (&fault.path, &fault.reason).hash(&mut hasher);
    }
    let mut fault = fault_of(&faults);
    if is_folder && is_object {
        fault = Some("is a folder and an object at once; move one of the two away".to_owned());
    }
    let paths: Vec<&str> = objects.iter().map(|(path, _)| *path).collect();
    let folder = if drop_by == DropBy::All { "" } else { &name };
    let table = match hats::main_table(location, folder, &paths).await {
        Err(Error::Mixed { reason, .. }) => {
            fault.get_or_insert(reason);
            None
        }
        table => table?,
    };
    let (mut taken, mut ignored) = (Vec::new(), BTreeSet::new());
    for (path, meta) in &objects {
        match role(path, meta.size, table.as_deref()) {
            Role::Rows => taken.push(object_ref(location, meta)),
            Role::Quiet => (),
            Role::Ignored(path) => {
                let below = if folder.is_empty() { "" } else { "/" };
                ignored.insert(format!("{folder}{below}{path}"));
            }
        }
    }
    let is_whole = is_folder && is_whole(&objects);
    Ok(ListedDrop {
        listing: DropListing {
            name,
            object: taken.first().filter(|_| !is_folder).cloned(),
            fault,
        },
        objects: taken,
        ignored: ignored.into_iter().collect(),
        is_whole,
        fingerprint: hasher.finish(),
    })
}

/// The role of an object in a drop.
enum Role<'a> {
    /// The rows of the object are read.
    Rows,
    /// A side file without rows, which is ignored without a message.
    Quiet,
    /// The object is ignored. The name is its own, or the name of its folder.
    Ignored(&'a str),
}

fn role<'a>(path: &'a str, bytes: u64, table: Option<&str>) -> Role<'a> {
    let inside = match table {
        None | Some("") => Some(path),
        Some(table) => path
            .strip_prefix(table)
            .and_then(|rest| rest.strip_prefix('/')),
    };
    match (inside, table) {
        (Some(inside), Some(_)) if hats::is_tile(inside) => Role::Rows,
        (Some(_), None) if is_parquet(path) => Role::Rows,
        _ if is_side_file(path, bytes) => Role::Quiet,
        // A margin or an index may have thousands of tiles, so the message names only its folder.
        (None, _) => Role::Ignored(path.find('/').map_or(path, |end| &path[..=end])),
        _ => Role::Ignored(path),
    }
}

/// Whether an ignored file is empty, or is a file that tools write beside Parquet files.
fn is_side_file(path: &str, bytes: u64) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_hidden = !path.split('/').all(is_name);
    let is_sky_map = name.starts_with("skymap") && name.ends_with(".fits");
    let is_empty = bytes == 0 && !is_parquet(path);
    is_hidden || is_empty || is_sky_map || name.ends_with(".crc") || SIDE_FILES.contains(&name)
}

/// The reason why a drop with these faults fails.
fn fault_of(faults: &[&Fault]) -> Option<String> {
    let first = faults.first()?;
    let more = match faults.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more like it)"),
    };
    Some(format!("{}: {}{more}", first.path, first.reason))
}

/// Whether `_SUCCESS` exists and is the newest object. A tool that copies files by name may copy `_SUCCESS` first.
fn is_whole(objects: &[(&str, &ObjectMeta)]) -> bool {
    let success = objects.iter().find(|(path, _)| *path == SUCCESS);
    success.is_some_and(|(_, success)| {
        let visible = objects
            .iter()
            .filter(|(path, _)| path.split('/').all(is_name));
        visible
            .map(|(_, meta)| meta.last_modified)
            .all(|at| at <= success.last_modified)
    })
}
