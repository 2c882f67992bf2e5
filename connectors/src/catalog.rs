//! A catalog: the drops below a prefix, found by listing; what each holds, found from its footers.
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::DataType;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    Error, Location,
    fetch::ObjectReader,
    file::File,
    galaxy::{FileKind, IdKind, Request},
    sighting::sightings,
    split::{ObjectRef, Split, cut},
};

/// Rows of a part: predictions of a drop are written in as many files as its rows need.
pub const PART_ROWS: u64 = 1_000_000;
/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// Footers that are kept: splits of one file mostly come one after another.
const FILES_KEPT: usize = 64;

/// How the objects below the prefix make drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropBy {
    /// Each child of the prefix is a drop.
    #[default]
    Child,
    /// All objects below the prefix are one drop, named as the prefix's last part: a HATS or plain catalog.
    All,
}

/// A catalog, as one job reads it.
#[derive(Debug)]
pub struct Catalog {
    location: Location,
    drop_by: DropBy,
    request: Request,
    files: Mutex<Files>,
}

type FileCell = Arc<OnceCell<Arc<File>>>;

#[derive(Debug, Default)]
struct Files {
    cells: HashMap<ObjectRef, FileCell>,
    order: VecDeque<ObjectRef>,
}

/// A drop as the listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropListing {
    /// Its name: its identity, whatever run takes it in.
    pub name: String,
    /// Where it is one object, the object; a folder is listed when the drop is taken.
    pub(crate) object: Option<ObjectRef>,
}

/// An object of a drop, with the rows its footer promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Where it lies below the catalog.
    pub path: String,
    /// Its ETag.
    pub etag: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// What its schema says of where the rows are from, under the key `origin`: a sample survey says that it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A drop, ready to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropPlan {
    /// Its name.
    pub name: String,
    /// This attempt at it: where the results are staged.
    pub attempt: String,
    /// The number the ledger was at when the attempt began.
    pub began: u64,
    /// Whether it is to be predicted, or teaches the metrics alone.
    pub kind: FileKind,
    /// The type of its `object_id`; none where the drop has no objects.
    pub id_kind: Option<IdKind>,
    /// Its objects, in the byte order of their paths.
    pub inputs: Vec<Input>,
    /// Its rows that are taken.
    pub rows: u64,
    /// In how many parts its predictions are written.
    pub parts: u32,
    /// Why it cannot be read: it is settled as failed.
    pub failure: Option<String>,
    /// Its rows, cut.
    #[serde(skip)]
    pub splits: Vec<Split>,
}

impl DropPlan {
    /// A drop that cannot be read, found when the ledger was at `began`.
    pub fn failed(drop: &DropListing, attempt: &str, began: u64, failure: String) -> Self {
        Self {
            failure: Some(failure),
            ..Self::empty(drop, attempt, began)
        }
    }

    /// A drop that has an entry already, of this number: there is nothing to read, and it is settled as overtaken.
    pub fn overtaken(drop: &DropListing, attempt: &str, sequence: u64) -> Self {
        Self::empty(drop, attempt, sequence)
    }

    fn empty(drop: &DropListing, attempt: &str, began: u64) -> Self {
        Self {
            name: drop.name.clone(),
            attempt: attempt.to_owned(),
            began,
            kind: FileKind::Galaxies,
            id_kind: None,
            inputs: Vec::new(),
            rows: 0,
            parts: 1,
            failure: None,
            splits: Vec::new(),
        }
    }

    /// Takes the first `rows` rows alone: a first try.
    pub fn limit(&mut self, rows: u64) {
        let mut left = rows.min(self.rows);
        self.rows = left;
        for split in &mut self.splits {
            let taken = left.min(split.cut.rows.len() as u64);
            split.cut.rows.end = split.cut.rows.start + taken as usize;
            left -= taken;
        }
        self.splits.retain(|split| !split.cut.rows.is_empty());
    }
}

impl Catalog {
    /// A catalog at its place; nothing is asked of the store yet.
    pub fn new(location: Location, drop_by: DropBy, request: Request) -> Self {
        Self {
            location,
            drop_by,
            request,
            files: Mutex::default(),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// How its objects make drops.
    pub(crate) fn drop_by(&self) -> DropBy {
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
        if let Some(object) = &drop.object {
            return Ok(vec![object.clone()]);
        }
        let folder = match self.drop_by {
            DropBy::Child => self.location.path(&drop.name)?,
            DropBy::All => self.location.prefix.clone(),
        };
        let below = Some(&folder).filter(|folder| !folder.is_root());
        let listed: Vec<ObjectMeta> = self
            .location
            .store
            .list(below)
            .try_collect()
            .await
            .map_err(|source| Error::store(self.location.url_of(&drop.name), source))?;
        let inside = |meta: &&ObjectMeta| {
            let path = meta.location.as_ref()[folder.as_ref().len()..].trim_start_matches('/');
            is_parquet(path)
        };
        let mut objects: Vec<ObjectRef> = listed
            .iter()
            .filter(inside)
            .map(|meta| object_ref(&self.location, meta))
            .collect();
        objects.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(objects)
    }

    /// Reads a drop's footers and cuts its rows, for a model that takes `batch` of them at a time.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Schema`] or [`Error::Mixed`] where an object is bad or does not fit the others.
    pub async fn plan(
        &self,
        drop: &DropListing,
        attempt: &str,
        began: u64,
        split_bytes: u64,
        batch: usize,
    ) -> Result<DropPlan, Error> {
        let objects = self.with_etags(self.objects(drop).await?).await?;
        let opened: Vec<_> = objects.iter().map(|object| self.file(object)).collect();
        let files: Vec<Arc<File>> = futures::stream::iter(opened)
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let (kind, id_kind) = agree(&drop.name, &files)?;
        if let Some(file) = files.iter().find(|file| file.layout.lacks_cutouts_alone()) {
            tracing::warn!(
                "drop {}: {} has magnitudes and z_spec and no column {}, so it is taken as spec-z alone and nothing of it is predicted; where its cutouts are in another column, give --column cutout=NAME",
                drop.name,
                file.name(),
                self.request.names.in_file("cutout"),
            );
        }
        let rows: u64 = files.iter().map(|file| file.rows()).sum();
        let parts = rows.div_ceil(PART_ROWS).max(1) as u32;
        let mut splits = Vec::new();
        for (index, (object, file)) in objects.iter().zip(&files).enumerate() {
            for cut in cut(&file.shapes(), split_bytes, batch) {
                splits.push(Split {
                    drop: drop.name.clone(),
                    attempt: attempt.to_owned(),
                    number: splits.len() as u64,
                    kind,
                    parts,
                    object: object.clone(),
                    object_index: index as u32,
                    cut,
                });
            }
        }
        let inputs = objects.into_iter().zip(&files).map(|(object, file)| Input {
            path: object.path,
            etag: object.etag,
            bytes: object.bytes,
            rows: file.rows(),
            origin: file.origin(),
        });
        let (name, attempt) = (drop.name.clone(), attempt.to_owned());
        Ok(DropPlan {
            name,
            attempt,
            began,
            kind,
            id_kind,
            inputs: inputs.collect(),
            rows,
            parts,
            failure: None,
            splits,
        })
    }

    /// Asks for the ETags that the listing of some stores lacks: a drop must be read as it was listed.
    async fn with_etags(&self, objects: Vec<ObjectRef>) -> Result<Vec<ObjectRef>, Error> {
        let complete = objects.into_iter().map(async |object: ObjectRef| {
            if object.etag.is_some() {
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

    /// A file of the catalog: its footer is read once, and kept while it is among the newest.
    pub(crate) async fn file(&self, object: &ObjectRef) -> Result<Arc<File>, Error> {
        let cell = self.cell(object);
        let open = async || {
            let reader = ObjectReader::new(&self.location, object)?;
            File::open(reader, object.bytes, &self.request)
                .await
                .map(Arc::new)
        };
        cell.get_or_try_init(open).await.cloned()
    }

    fn cell(&self, object: &ObjectRef) -> FileCell {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = files.cells.get(object) {
            return cell.clone();
        }
        if files.order.len() == FILES_KEPT
            && let Some(oldest) = files.order.pop_front()
        {
            files.cells.remove(&oldest);
        }
        files.order.push_back(object.clone());
        files.cells.entry(object.clone()).or_default().clone()
    }
}

/// The drops below a prefix in the byte order of their names: those that hold a `.parquet` object.
///
/// # Errors
/// As [`sightings`].
pub async fn drops(location: &Location, drop_by: DropBy) -> Result<Vec<DropListing>, Error> {
    let sightings = sightings(location, drop_by).await?.into_iter();
    let with_rows = sightings.filter(|sighting| !sighting.objects.is_empty());
    Ok(with_rows.map(|sighting| sighting.listing).collect())
}

/// The name of the one drop that a whole catalog is.
pub(crate) fn all_in_one(location: &Location) -> String {
    let mut parts = location.url.rsplit('/');
    let name = parts.find(|part| !part.is_empty());
    name.unwrap_or("all").to_owned()
}

/// Refuses two drops of one name among those in the order of their names.
pub(crate) fn refuse_twins<'a>(drops: impl Iterator<Item = &'a DropListing>) -> Result<(), Error> {
    let mut before = None;
    for drop in drops {
        if before.replace(&drop.name) == Some(&drop.name) {
            return Err(Error::Mixed {
                drop: drop.name.clone(),
                reason: "is a folder and an object at once; move one of the two away".to_owned(),
            });
        }
    }
    Ok(())
}

pub(crate) fn object_ref(location: &Location, meta: &ObjectMeta) -> ObjectRef {
    let path = location.relative(&meta.location).to_owned();
    ObjectRef {
        path,
        etag: meta.e_tag.clone(),
        bytes: meta.size,
    }
}

/// Names that begin with `_` or `.` are no drops, nor parts of one.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['_', '.'])
}

pub(crate) fn is_parquet(path: &str) -> bool {
    path.ends_with(".parquet") && path.split('/').all(is_name)
}

/// The kind of a drop's files and the type of their ids, which must be the same in all; so must the types of columns that
/// are kept.
fn agree(drop: &str, files: &[Arc<File>]) -> Result<(FileKind, Option<IdKind>), Error> {
    let Some(first) = files.first() else {
        return Ok((FileKind::Galaxies, None));
    };
    let (kind, id_kind) = (first.layout.kind(), first.layout.id_kind());
    for file in files {
        let reason = if file.layout.id_kind() != id_kind {
            format!(
                "object_id is {id_kind} in {}, and {} in {}; a catalog has one type",
                first.name(),
                file.layout.id_kind(),
                file.name()
            )
        } else if file.layout.kind() != kind {
            format!(
                "{} and {} are not of one kind: one has galaxies, the other z_spec and no cutouts, which makes it spec-z; deliver spec-z as a drop of its own, and withdrawals without z_spec",
                first.name(),
                file.name()
            )
        } else {
            continue;
        };
        return Err(Error::Mixed {
            drop: drop.to_owned(),
            reason,
        });
    }
    for place in 0..first.layout.keep_fields().len() {
        agree_on_kept(drop, files, place)?;
    }
    Ok((kind, Some(id_kind)))
}

/// Makes sure that a column to keep is of one type. In a file that only withdraws, and lacks it, it is of none.
fn agree_on_kept(drop: &str, files: &[Arc<File>], place: usize) -> Result<(), Error> {
    let kept = |file: &Arc<File>| file.layout.keep_fields().get(place).cloned();
    let mut typed = files
        .iter()
        .filter_map(|file| Some((kept(file)?, file)))
        .filter(|(field, _)| *field.data_type() != DataType::Null);
    let Some((field, first)) = typed.next() else {
        return Ok(());
    };
    match typed.find(|(other, _)| other.data_type() != field.data_type()) {
        None => Ok(()),
        Some((other, file)) => Err(Error::Mixed {
            drop: drop.to_owned(),
            reason: format!(
                "column {} is {} in {}, and {} in {}; write it with one type, or leave --keep {} out",
                field.name(),
                field.data_type(),
                first.name(),
                other.data_type(),
                file.name(),
                field.name()
            ),
        }),
    }
}
