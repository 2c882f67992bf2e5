//! Locations in memory, and their objects.
use std::{path::PathBuf, sync::Arc};

use connectors::{
    Location,
    ledger::{Entry, EntryKind, FileRecord, checksum},
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};

/// A location in memory.
pub fn memory() -> Location {
    with_store(Arc::new(InMemory::new()))
}

/// A location in a store.
pub fn with_store(store: Arc<dyn ObjectStore>) -> Location {
    Location {
        store,
        prefix: Path::from("survey"),
        url: "memory://survey".to_owned(),
        folder: None,
        pages: None,
    }
}

/// A location below another location.
pub fn below(location: &Location, name: &str) -> Location {
    Location {
        store: location.store.clone(),
        prefix: location.path(name).unwrap(),
        url: location.url_of(name),
        folder: location.folder.as_ref().map(|folder: &PathBuf| {
            std::fs::create_dir_all(folder.join(name)).unwrap();
            folder.join(name)
        }),
        pages: location.pages.clone(),
    }
}

/// Writes an object below a location.
pub async fn put(location: &Location, path: &str, bytes: impl Into<PutPayload>) {
    location
        .store
        .put(&location.path(path).unwrap(), bytes.into())
        .await
        .unwrap();
}

/// The sorted paths of all objects below a location.
pub async fn paths(location: &Location) -> Vec<String> {
    let listed = location
        .store
        .list(Some(&location.prefix))
        .map_ok(|meta| location.relative(&meta.location).to_owned());
    let mut paths: Vec<String> = listed.try_collect().await.unwrap();
    paths.sort();
    paths
}

/// The paths that are not hidden from readers.
pub async fn published(here: &Location) -> Vec<String> {
    paths(here)
        .await
        .into_iter()
        .filter(|path| !path.starts_with("_hubbleflow/"))
        .collect()
}

/// The paths of the stage.
pub async fn staged(here: &Location) -> Vec<String> {
    paths(here)
        .await
        .into_iter()
        .filter(|path| path.starts_with("_hubbleflow/staging/"))
        .collect()
}

/// A ledger entry that commits files of a drop. The content of each file is the name of the attempt.
pub fn entry(drop: &str, attempt: &str, files: &[&str]) -> Entry {
    let record = |path: &&str| FileRecord {
        path: (*path).to_owned(),
        rows: 1,
        bytes: attempt.len() as u64,
        sha256: checksum(attempt.as_bytes()),
    };
    Entry {
        kind: EntryKind::Drop,
        drop: drop.to_owned(),
        files: files.iter().map(record).collect(),
        ..Entry::abandoned(attempt, "0")
    }
}
