//! Lists the objects below a place, and the names that cannot be read as objects.
//!
//! The listings of object_store end at the first invalid name (`a//b`, a tab, bytes that are not UTF-8), and skip broken
//! links. Here an invalid name affects no other name. Local folders are walked (`walk.rs`). A page of an object store is
//! requested again in smaller pieces, until the invalid name is alone.
pub mod drop_listing;
mod hats;
pub(crate) mod listed;
pub mod listed_drop;
pub(crate) mod names;
mod walk;

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStoreExt,
    list::{PaginatedListOptions, PaginatedListStore},
    path::Error as PathError,
};

use self::{
    listed::{Fault, Listed, Part},
    names::{is_name, is_parquet},
    walk::Walk,
};
use crate::{Error, Location};

/// The number of keys in a page of a listing.
const PAGE_KEYS: usize = 1_000;

/// Lists a part of a place.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn list(place: &Location, part: Part<'_>) -> Result<Listed, Error> {
    let fail = |source| Error::store(&place.url, source);
    let mut listed = if let Some(folder) = &place.folder {
        let walk = Walk::new(folder.clone(), part);
        let walked = tokio::task::spawn_blocking(move || walk.run()).await;
        let walked = walked.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
        walked.map_err(|source| {
            fail(StoreError::Generic {
                store: "LocalFileSystem",
                source: source.into(),
            })
        })?
    } else {
        let prefix = match part {
            Part::Child(folder) => place.path(folder)?,
            _ => place.prefix.clone(),
        };
        let after = match part {
            // This name sorts after everything in the folder of the last known name.
            Part::New(known) => known.iter().max().map(|last| format!("{last}/\u{10FFFF}")),
            _ => None,
        };
        let after = after.map(|after| place.path(&after)).transpose()?;
        match &place.pages {
            Some(pages) => {
                let prefix = (!prefix.is_root()).then(|| format!("{prefix}/"));
                let after = after.map(String::from);
                let listed = all_pages(pages.as_ref(), prefix.as_deref(), after).await;
                below_prefix(place, listed.map_err(fail)?)
            }
            None => {
                let prefix = Some(&prefix).filter(|prefix| !prefix.is_root());
                let objects = match &after {
                    Some(after) => place.store.list_with_offset(prefix, after),
                    None => place.store.list(prefix),
                };
                Listed {
                    objects: objects.try_collect().await.map_err(fail)?,
                    faults: Vec::new(),
                }
            }
        }
    };
    if let Part::Child(name) = part
        && place.folder.is_none()
        && is_parquet(name)
    {
        match place.store.head(&place.path(name)?).await {
            Ok(object) => listed.objects.push(object),
            Err(StoreError::NotFound { .. }) => (),
            Err(source) => return Err(fail(source)),
        }
    }
    listed
        .objects
        .sort_unstable_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
    drop_markers(place, &mut listed.objects).await?;
    Ok(listed)
}

/// Removes the empty objects by which some tools mark a folder, such as `night-1/`.
async fn drop_markers(place: &Location, objects: &mut Vec<ObjectMeta>) -> Result<(), Error> {
    if place.folder.is_some() {
        return Ok(());
    }
    let mut markers = HashSet::new();
    for object in objects.iter().filter(|object| object.size == 0) {
        let path = object.location.as_ref();
        let inside = format!("{path}/");
        let next = objects.partition_point(|other| other.location.as_ref() < inside.as_str());
        let has_children = objects
            .get(next)
            .is_some_and(|other| other.location.as_ref().starts_with(&inside));
        let name = path.rsplit('/').next().unwrap_or(path);
        if has_children || (is_parquet(name) && is_gone(place, object).await?) {
            markers.insert(object.location.clone());
        }
    }
    objects.retain(|object| object.size != 0 || !markers.contains(&object.location));
    Ok(())
}

/// Whether no object has this name. A key that ends with a slash is listed without the slash.
async fn is_gone(place: &Location, object: &ObjectMeta) -> Result<bool, Error> {
    match place.store.head(&object.location).await {
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(source) => Err(Error::store(
            place.url_of(place.relative(&object.location)),
            source,
        )),
        Ok(_) => Ok(false),
    }
}

/// Reads all pages of a listing of an object store. A page with an invalid name is requested in halves, until the name is
/// alone and can be skipped.
async fn all_pages(
    store: &dyn PaginatedListStore,
    prefix: Option<&str>,
    mut offset: Option<String>,
) -> Result<Listed, StoreError> {
    let (mut listed, mut token, mut keys) = (Listed::default(), None, PAGE_KEYS);
    loop {
        let options = PaginatedListOptions {
            offset: offset.clone(),
            page_token: token.clone(),
            max_keys: (keys < PAGE_KEYS).then_some(keys),
            ..Default::default()
        };
        match store.list_paginated(prefix, options).await {
            Ok(page) => {
                listed.objects.extend(page.result.objects);
                token = page.page_token;
                keys = (2 * keys).min(PAGE_KEYS);
                if token.is_none() {
                    return Ok(listed);
                }
            }
            Err(StoreError::InvalidPath { source }) => {
                let Some(key) = key_of(&source) else {
                    return Err(StoreError::InvalidPath { source });
                };
                if keys > 1 {
                    keys /= 2;
                    continue;
                }
                listed.faults.push(Fault {
                    path: key.to_owned(),
                    reason: source.to_string(),
                });
                (token, offset) = (None, Some(key.to_owned()));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The invalid key at which a listing failed.
fn key_of(error: &PathError) -> Option<&str> {
    match error {
        PathError::EmptySegment { path } | PathError::BadSegment { path, .. } => Some(path),
        _ => None,
    }
}

/// Names the faults of a listing by their paths below the place, and removes faults in ignored folders.
fn below_prefix(place: &Location, mut listed: Listed) -> Listed {
    listed.faults.retain_mut(|fault| {
        let below = fault.path.strip_prefix(place.prefix.as_ref());
        let below = below.unwrap_or(&fault.path);
        let path = below.strip_prefix('/').unwrap_or(below).to_owned();
        let counts = !path.split('/').any(is_hidden);
        fault.reason = "an object's name that cannot be taken (an empty part, `.`, `..` or a control character); rename the object, or move it away".to_owned();
        fault.path = printable(&path);
        counts
    });
    listed
}

/// Escapes the control characters of a path. Other characters stay as they are.
fn printable(path: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    path.chars().map(escape).collect()
}

fn is_hidden(part: &str) -> bool {
    !part.is_empty() && !is_name(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::future::BoxFuture;
    use object_store::{
        ListResult,
        list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore},
        path::Path,
    };

    use super::all_pages;

    /// A store with these keys that lists them like S3.
    struct Keys(Vec<String>);

    impl PaginatedListStore for Keys {
        fn list_paginated<'a, 'b, 'c>(
            &'a self,
            prefix: Option<&'b str>,
            options: PaginatedListOptions,
        ) -> BoxFuture<'c, object_store::Result<PaginatedListResult>>
        where
            'a: 'c,
            'b: 'c,
            Self: 'c,
        {
            Box::pin(async move { self.page(prefix, options) })
        }
    }

    impl Keys {
        fn page(
            &self,
            prefix: Option<&str>,
            options: PaginatedListOptions,
        ) -> object_store::Result<PaginatedListResult> {
            let after = options.page_token.or(options.offset).unwrap_or_default();
            let is_listed = |key: &&String| **key > after && key.starts_with(prefix.unwrap_or(""));
            let mut keys: Vec<&String> = self.0.iter().filter(is_listed).collect();
            let more = keys.len() > options.max_keys.unwrap_or(1_000);
            keys.truncate(options.max_keys.unwrap_or(1_000));
            let page_token = more.then(|| keys.last().unwrap().to_string());
            let objects = keys.into_iter().map(|key| {
                Ok(object_store::ObjectMeta {
                    location: Path::parse(key)?,
                    last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                    size: 1,
                    e_tag: None,
                    version: None,
                })
            });
            let result = ListResult {
                common_prefixes: Vec::new(),
                objects: objects.collect::<object_store::Result<_>>()?,
                extensions: Default::default(),
            };
            Ok(PaginatedListResult { result, page_token })
        }
    }

    // One such key made the whole listing fail, and with it the catalog.
    #[tokio::test]
    async fn keys_that_cannot_be_given_cost_only_themselves() {
        let mut keys: Vec<String> = (0..2_500)
            .map(|n| format!("cat/{n:04}/a.parquet"))
            .collect();
        let bad = [
            "cat//a.parquet",
            "cat/0700/a\tb.parquet",
            "cat/0700/c//d",
            "cat/2499/z\u{1}",
        ];
        keys.extend(bad.map(str::to_owned));
        keys.push("dog/a//b".to_owned());
        keys.sort();
        let listed = all_pages(&Keys(keys), Some("cat/"), None).await.unwrap();
        let found: Vec<&str> = listed
            .faults
            .iter()
            .map(|fault| fault.path.as_str())
            .collect();
        assert_eq!((listed.objects.len(), found), (2_500, bad.to_vec()));
    }
}
