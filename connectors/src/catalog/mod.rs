//! A catalog: lists the drops below a prefix, and plans a drop from the footers of its files.
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
    galaxy::{Doubt, EmbeddingColumns, KeptTypes, Layout, Request, kept::UNTYPED, quoted},
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

/// The number of footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// The number of drops that are searched for the type of a kept column.
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
    /// Makes a catalog. No request is made yet.
    pub fn new(location: Location, drop_by: DropBy, request: Request) -> Self {
        Self {
            location,
            drop_by,
            request,
            files: FooterCache::default(),
        }
    }

    /// The place of the catalog.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// How objects are grouped into drops.
    pub fn drop_by(&self) -> DropBy {
        self.drop_by
    }

    /// The drops in the byte order of their names, which is the order in which they are processed.
    ///
    /// # Errors
    /// Errors of the store, such as [`Error::NotFound`] for a missing bucket or folder and [`Error::Denied`] for wrong
    /// credentials.
    pub async fn drops(&self) -> Result<Vec<DropListing>, Error> {
        drops(&self.location, self.drop_by).await
    }

    /// The objects of a drop in the byte order of their paths.
    ///
    /// # Errors
    /// Errors of the store.
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
        let now = now.ok_or_else(|| cannot("was removed after it was listed".to_owned()))?;
        match now.listing.fault {
            Some(fault) => Err(cannot(fault)),
            None => Ok((now.objects, now.ignored)),
        }
    }

    /// Reads the footers of a drop and cuts its rows into splits. The model takes `batch` rows at a time.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Schema`] or [`Error::Mixed`] if an object is damaged or does not fit the other objects.
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
            if !warned && let Some(doubt) = file.layout.as_ref().and_then(Layout::doubt) {
                self.warn_of_no_cutouts(&listing.name, &file.name, doubt);
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
            began,
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

    fn warn_of_no_cutouts(&self, drop: &str, file: &str, doubt: &Doubt) {
        let has = match doubt.has_mags {
            true => "magnitudes and z_spec",
            false => "z_spec",
        };
        let cutout = self.request.names.in_file("cutout");
        let found = quoted(&doubt.found);
        let like = match doubt.pixels.is_empty() {
            true => String::new(),
            false => format!(", of which {} may be images", quoted(&doubt.pixels)),
        };
        let advice = match self
            .request
            .names
            .given()
            .any(|(column, _)| column == "cutout")
        {
            true => format!(
                "--column cutout={cutout} names none of these: if one of them holds its cutouts, give that one"
            ),
            false => {
                "if its cutouts are in a different column, give --column cutout=NAME".to_owned()
            }
        };
        tracing::warn!(
            "drop {drop}: {file} has {has} and no column {cutout}, so it is read as spec-z and its rows are not predicted; its columns are {found}{like}; {advice}"
        );
    }

    /// The types that kept columns have in the first few other drops of the catalog. Objects that cannot be read are
    /// skipped; they fail their own drop later.
    ///
    /// # Errors
    /// Errors of the store, if the catalog cannot be listed.
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

    /// What the first file with embeddings in these drops says of them; `None` if no file has any.
    ///
    /// # Errors
    /// Errors of the store; [`Error::Schema`] or [`Error::Corrupt`] if a file cannot be read.
    pub async fn embedding_columns(
        &self,
        drops: &[DropListing],
    ) -> Result<Option<EmbeddingColumns>, Error> {
        for drop in drops {
            for object in self.objects(drop).await? {
                let file = self.file(&object).await?;
                let found = EmbeddingColumns::find(file.schema(), &self.request.names);
                let found = found.map_err(|source| Error::Schema {
                    object: file.name(),
                    source,
                })?;
                if found.is_some() && file.rows() > 0 {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// Requests missing ETags, which some stores leave out of their listings. A drop must be read as it was listed.
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

    /// Opens a file of the catalog. Its footer is cached.
    pub(crate) async fn file(&self, object: &ObjectRef) -> Result<Arc<File>, Error> {
        self.files.open(&self.location, object, &self.request).await
    }

    /// Lists the drops with their objects, as [`list_drops`] does.
    ///
    /// # Errors
    /// The errors of [`list_drops`].
    pub async fn list_drops(&self) -> Result<ListedDrops, Error> {
        list_drops(self.location(), self.drop_by()).await
    }

    /// Lists new drops, whose names are not in `known`, without listing the whole catalog. On an object store, only drops
    /// after the last known name are found.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn list_new_drops(&self, known: &HashSet<String>) -> Result<Vec<ListedDrop>, Error> {
        let listed = list(self.location(), Part::New(known)).await?;
        let drops = group(self.location(), DropBy::Child, listed).await?.drops;
        let is_new = |drop: &ListedDrop| !known.contains(&drop.listing.name);
        Ok(drops.into_iter().filter(is_new).collect())
    }

    /// Lists one drop as it is now. Returns `None` if the drop does not exist any more.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn list_drop(&self, name: &str) -> Result<Option<ListedDrop>, Error> {
        let part = match self.drop_by() {
            DropBy::All => Part::All,
            DropBy::Child => Part::Child(name),
        };
        let listed = list(self.location(), part).await?;
        let drops = group(self.location(), self.drop_by(), listed).await?.drops;
        Ok(drops.into_iter().find(|drop| drop.listing.name == name))
    }

    /// The time at which a child was last added to or removed from a catalog on this machine, or `None` for other stores.
    pub fn children_changed(&self) -> Option<SystemTime> {
        let folder = self.location().folder.as_ref()?;
        std::fs::metadata(folder).ok()?.modified().ok()
    }
}
