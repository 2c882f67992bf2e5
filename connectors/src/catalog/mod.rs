//! A catalog: the drops below a prefix, found by listing; what each holds, found from its footers.
mod agreement;
pub mod drop_plan;
pub mod split;

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use self::{
    agreement::{Agreed, FileSummary, kept_type},
    split::{Source, Splits},
};
use crate::{
    Error, Location,
    file::{File, footer_cache::FooterCache},
    galaxy::{KeptTypes, Layout, Request, kept::UNTYPED},
    listing::{
        list,
        listed::Part,
        listed_drop::{ListedDrop, ListedDrops, group, list_drops},
        names::{check_name, object_ref},
    },
    store::{etag::is_etag, object_ref::ObjectRef},
};

pub use self::drop_plan::{DropPlan, Input, PART_ROWS};
pub use crate::listing::{
    drop_listing::{DropBy, DropListing},
    listed_drop::drops,
};

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// Drops that are looked at for the type of a kept column.
const DROPS_LOOKED_AT: usize = 64;
/// A catalog, as one job reads it.
#[derive(Debug)]
pub struct Catalog {
    location: Location,
    drop_by: DropBy,
    request: Request,
    files: FooterCache,
}

impl Catalog {
    /// A catalog at its place; nothing is asked of the store yet.
    pub fn new(location: Location, drop_by: DropBy, request: Request) -> Self {
        Self {
            location,
            drop_by,
            request,
            files: FooterCache::default(),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// How its objects make drops.
    pub fn drop_by(&self) -> DropBy {
        self.drop_by
    }

    /// Its drops in the byte order of their names, which is the order they are taken in.
    ///
    /// # Errors
    /// The store's: [`Error::NotFound`] for a missing bucket or folder, [`Error::Denied`] for wrong credentials.
    pub async fn drops(&self) -> Result<Vec<DropListing>, Error> {
        drops(&self.location, self.drop_by).await
    }

    /// The objects of a drop in the byte order of their paths.
    ///
    /// # Errors
    /// The store's.
    pub async fn objects(&self, drop: &DropListing) -> Result<Vec<ObjectRef>, Error> {
        Ok(self.listed(drop).await?.0)
    }

    /// The objects of a drop, and the files in it that are ignored.
    async fn listed(&self, drop: &DropListing) -> Result<(Vec<ObjectRef>, Vec<String>), Error> {
        let cannot = |reason: String| Error::Mixed {
            drop: drop.name.clone(),
            reason,
        };
        if let Some(fault) = &drop.fault {
            return Err(cannot(fault.clone()));
        }
        if let Some(object) = &drop.object {
            return Ok((vec![object.clone()], Vec::new()));
        }
        let now = self.list_drop(&drop.name).await?;
        let now = now.ok_or_else(|| cannot("went away since it was listed".to_owned()))?;
        match now.listing.fault {
            Some(fault) => Err(cannot(fault)),
            None => Ok((now.objects, now.ignored)),
        }
    }

    /// Reads a drop's footers and cuts its rows, for a model that takes `batch` of them at a time.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Schema`] or [`Error::Mixed`] where an object is bad or does not fit the others.
    pub async fn plan(
        &self,
        listing: &DropListing,
        attempt: &str,
        began: u64,
        split_bytes: u64,
        batch: usize,
    ) -> Result<DropPlan, Error> {
        check_name(&listing.name)?;
        let (objects, ignored) = self.listed(listing).await?;
        let objects = self.with_etags(objects).await?;
        let looked_at = objects
            .iter()
            .map(async |object| Ok::<_, Error>(FileSummary::new(&*self.file(object).await?)));
        let looked_at: Vec<_> = looked_at.collect();
        let mut files = futures::stream::iter(looked_at).buffered(FOOTERS_AT_ONCE);
        let (mut agreed, mut shapes, mut inputs) = (Agreed::default(), Vec::new(), Vec::new());
        let mut warned = false;
        for object in &objects {
            let Some(file) = files.try_next().await? else {
                break;
            };
            agreed.take(&listing.name, &object.path, &file)?;
            if !warned
                && file
                    .layout
                    .is_some_and(|layout| layout.lacks_cutouts_alone())
            {
                self.warn_of_no_cutouts(&listing.name, &file.name);
                warned = true;
            }
            shapes.push(file.shapes);
            inputs.push(Input {
                path: object.path.clone(),
                etag: object.etag.clone(),
                bytes: object.bytes,
                rows: file.rows,
                origin: file.origin,
            });
        }
        drop(files);
        let (kind, id_kind, keep) = (agreed.kind(), agreed.id_kind(), agreed.keep());
        let rows: u64 = inputs.iter().map(|input| input.rows).sum();
        let parts = rows.div_ceil(PART_ROWS).max(1) as u32;
        let (name, attempt) = (listing.name.clone(), attempt.to_owned());
        let splits = Splits::new(Source {
            drop: name.clone(),
            attempt: attempt.clone(),
            kind,
            parts,
            keep: keep.clone(),
            objects: objects.into_iter().zip(shapes).collect(),
            split_bytes,
            batch,
        });
        Ok(DropPlan {
            name,
            attempt,
            began,
            kind,
            id_kind,
            keep,
            inputs,
            ignored,
            rows,
            parts,
            failure: None,
            splits,
        })
    }

    fn warn_of_no_cutouts(&self, drop: &str, file: &str) {
        tracing::warn!(
            "drop {drop}: {file} has magnitudes and z_spec and no column {}, so it is taken as spec-z alone and nothing of it is predicted; where its cutouts are in another column, give --column cutout=NAME",
            self.request.names.in_file("cutout"),
        );
    }

    /// The types that kept columns have in the other drops of the catalog, of which the first few are looked at. What
    /// cannot be read is passed over: it fails its own drop when that is taken.
    ///
    /// # Errors
    /// The store's, where the catalog cannot be listed.
    pub async fn kept_types(
        &self,
        drop: &str,
        mut columns: Vec<String>,
    ) -> Result<KeptTypes, Error> {
        let mut found = KeptTypes::new();
        let others = self.drops().await?.into_iter();
        for other in others
            .filter(|other| other.name != drop)
            .take(DROPS_LOOKED_AT)
        {
            let objects = self.objects(&other).await.unwrap_or_default();
            for object in objects.iter().take(FOOTERS_AT_ONCE) {
                let Ok(file) = self.file(object).await else {
                    continue;
                };
                let fields = file.layout().map_or(&[][..], Layout::keep_fields);
                let types = fields.iter().map(kept_type);
                found.extend(
                    types.filter(|(name, known)| columns.contains(name) && known != UNTYPED),
                );
                columns.retain(|column| !found.contains_key(column));
                if columns.is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Asks for the ETags that the listing of some stores lacks: a drop must be read as it was listed.
    async fn with_etags(&self, objects: Vec<ObjectRef>) -> Result<Vec<ObjectRef>, Error> {
        let complete = objects.into_iter().map(async |object: ObjectRef| {
            if object.etag.as_deref().is_some_and(is_etag) {
                return Ok(object);
            }
            let meta = self
                .location
                .store
                .head(&self.location.path(&object.path)?)
                .await;
            let meta =
                meta.map_err(|source| Error::store(self.location.url_of(&object.path), source))?;
            Ok(object_ref(&self.location, &meta))
        });
        futures::stream::iter(complete.collect::<Vec<_>>())
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await
    }

    /// A file of the catalog. Its footer is read once, and kept while it is among the newest.
    pub(crate) async fn file(&self, object: &ObjectRef) -> Result<Arc<File>, Error> {
        self.files.open(&self.location, object, &self.request).await
    }

    /// Its drops, as [`list_drops`] are.
    ///
    /// # Errors
    /// As [`list_drops`].
    pub async fn list_drops(&self) -> Result<ListedDrops, Error> {
        list_drops(self.location(), self.drop_by()).await
    }

    /// The drops whose names are not `known`, of those that can be found without listing the whole catalog: on an object
    /// store those after the last known name.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_new_drops(&self, known: &HashSet<String>) -> Result<Vec<ListedDrop>, Error> {
        let listed = list(self.location(), Part::New(known)).await?;
        let drops = group(self.location(), DropBy::Child, listed).await?.drops;
        let is_new = |drop: &ListedDrop| !known.contains(&drop.listing.name);
        Ok(drops.into_iter().filter(is_new).collect())
    }

    /// One drop as it is now; `None` where it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_drop(&self, name: &str) -> Result<Option<ListedDrop>, Error> {
        let part = match self.drop_by() {
            DropBy::All => Part::All,
            DropBy::Child => Part::Child(name),
        };
        let listed = list(self.location(), part).await?;
        let drops = group(self.location(), self.drop_by(), listed).await?.drops;
        Ok(drops.into_iter().find(|drop| drop.listing.name == name))
    }

    /// When a child was last added to or removed from the catalog, where that costs no listing.
    pub fn children_changed(&self) -> Option<SystemTime> {
        let folder = self.location().folder.as_ref()?;
        std::fs::metadata(folder).ok()?.modified().ok()
    }
}
