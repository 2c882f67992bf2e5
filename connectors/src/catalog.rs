//! A catalog: the drops below a prefix, found by listing; what each holds, found from its footers.
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::FieldRef;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    Error, Location,
    etag::{is_etag, version},
    fetch::ObjectReader,
    file::File,
    galaxy::{FileKind, IdKind, KeptTypes, Layout, Request, kept::comparable},
    sighting::{Sighting, sightings},
    split::{ObjectRef, RowGroupShape, Source, Splits},
};

/// Rows of a part: predictions of a drop are written in as many files as its rows need.
pub const PART_ROWS: u64 = 1_000_000;
/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// Footers that are kept: splits of one file mostly come one after another.
const FILES_KEPT: usize = 64;
/// Bytes of footers that are kept, but for the newest.
const FILES_KEPT_BYTES: u64 = 64 << 20;

/// Drops that are looked at for the type of a kept column.
const DROPS_LOOKED_AT: usize = 64;
/// The type of a kept column of which no file says the type.
const UNTYPED: &str = "Null";

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
    /// Why it cannot be taken, where the listing shows that.
    pub fault: Option<String>,
}

impl DropListing {
    /// A drop that is committed already, of which no more than its name is needed.
    pub fn committed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            object: None,
            fault: None,
        }
    }
}

/// An object of a drop, with the rows its footer promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Where it lies below the catalog.
    pub path: String,
    /// Its ETag; where the store gives none, its date.
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
    /// The types of its kept columns.
    #[serde(default)]
    pub keep: KeptTypes,
    /// Its objects, in the byte order of their paths.
    pub inputs: Vec<Input>,
    /// Files of it that are not read, by their paths below the catalog.
    pub ignored: Vec<String>,
    /// Its rows that are taken.
    pub rows: u64,
    /// In how many parts its predictions are written.
    pub parts: u32,
    /// Why it cannot be read: it is settled as failed.
    pub failure: Option<String>,
    /// Its rows, cut.
    #[serde(skip)]
    pub splits: Splits,
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
            keep: KeptTypes::new(),
            inputs: Vec::new(),
            ignored: Vec::new(),
            rows: 0,
            parts: 1,
            failure: None,
            splits: Splits::default(),
        }
    }

    /// The kept columns whose types none of its files says.
    pub fn untyped(&self) -> Vec<String> {
        let untyped = self.keep.iter().filter(|(_, known)| *known == UNTYPED);
        untyped.map(|(name, _)| name.clone()).collect()
    }

    /// Gives kept columns that have no type in this drop those that they have elsewhere.
    pub fn know(&mut self, types: &KeptTypes) {
        for name in self.untyped() {
            if let Some(known) = types.get(&name) {
                self.keep.insert(name, known.clone());
            }
        }
        self.splits.know(&self.keep);
    }

    /// Takes the first `rows` rows alone: a first try.
    pub fn limit(&mut self, rows: u64) {
        self.rows = rows.min(self.rows);
        self.splits.limit(self.rows);
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
        let now = self.sighting(&drop.name).await?;
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
        let looked_at: Vec<_> = objects.iter().map(|object| self.look_at(object)).collect();
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

    /// Reads a footer for what planning needs of it, and lets it go: a drop may have many.
    async fn look_at(&self, object: &ObjectRef) -> Result<LookedAt, Error> {
        let file = self.file(object).await?;
        Ok(LookedAt {
            name: file.name(),
            layout: file.layout().cloned(),
            shapes: file.shapes(),
            rows: file.rows(),
            origin: file.origin(),
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

    /// A file of the catalog: its footer is read once, and kept while it is among the newest.
    pub(crate) async fn file(&self, object: &ObjectRef) -> Result<Arc<File>, Error> {
        let cell = self.cell(object);
        let open = async || {
            let reader = ObjectReader::new(&self.location, object)?;
            File::open(reader, object.bytes, &self.request)
                .await
                .map(Arc::new)
        };
        let file = cell.get_or_try_init(open).await.cloned()?;
        self.let_go();
        Ok(file)
    }

    /// Lets go of the oldest footers, where those that are kept take too much.
    fn let_go(&self) {
        let files = &mut *self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |cell: &FileCell| cell.get().map_or(0, |file| file.memory_bytes());
        let mut all: u64 = files.cells.values().map(bytes).sum();
        while all > FILES_KEPT_BYTES && files.order.len() > 1 {
            let Some(cell) = files
                .order
                .pop_front()
                .and_then(|oldest| files.cells.remove(&oldest))
            else {
                break;
            };
            all -= bytes(&cell).min(all);
        }
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

/// The drops below a prefix in the byte order of their names: those that hold a Parquet object, or cannot be taken.
///
/// # Errors
/// As [`sightings`].
pub async fn drops(location: &Location, drop_by: DropBy) -> Result<Vec<DropListing>, Error> {
    let sightings = sightings(location, drop_by).await?.drops.into_iter();
    let with_rows = sightings.filter(Sighting::is_drop);
    Ok(with_rows.map(|sighting| sighting.listing).collect())
}

/// The name of the one drop that a whole catalog is.
pub(crate) fn all_in_one(location: &Location) -> String {
    let mut parts = location.url.rsplit('/');
    let name = parts.find(|part| !part.is_empty());
    name.unwrap_or("all").to_owned()
}

/// Refuses names by which readers of the output would take a drop's folder for a Hive partition: DuckDB, pyarrow and
/// others then put the folder's value into a column of that name, in place of what the files hold.
fn check_name(drop: &str) -> Result<(), Error> {
    if !drop.contains('=') {
        return Ok(());
    }
    Err(Error::Mixed {
        drop: drop.to_owned(),
        reason: "readers take a folder named KEY=VALUE for a partition, and its value for a column, and the predictions are written to a folder of the drop's name; rename the drop, or take the whole catalog as one drop (--drop-by all)".to_owned(),
    })
}

pub(crate) fn object_ref(location: &Location, meta: &ObjectMeta) -> ObjectRef {
    let path = location.relative(&meta.location).to_owned();
    ObjectRef {
        path,
        etag: Some(version(meta)),
        bytes: meta.size,
    }
}

/// Names that begin with `_` or `.` are no drops, nor parts of one.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['_', '.'])
}

/// Whether an object is read: its name ends as names of Parquet files do, in capitals or not.
pub(crate) fn is_parquet(path: &str) -> bool {
    let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let suffixes = ["parquet", "parq", "pq", "pqt"];
    suffixes
        .iter()
        .any(|known| suffix.eq_ignore_ascii_case(known))
        && path.split('/').all(is_name)
}

/// What planning needs of a file's footer.
struct LookedAt {
    name: String,
    layout: Option<Layout>,
    shapes: Vec<RowGroupShape>,
    rows: u64,
    origin: Option<String>,
}

/// What the files of a drop have agreed on so far: the type of their ids, which is one, their kind, and the types of columns
/// to keep.
///
/// A file of withdrawals may have spec-z beside files to predict: those of withdrawn rows are ignored.
#[derive(Debug, Default)]
struct Agreed {
    /// The first file, and the type of its ids.
    first: Option<(String, IdKind)>,
    /// The first file with galaxies.
    galaxies: Option<String>,
    /// The first file that can have spec-z alone.
    spec_z: Option<String>,
    /// Of each column to keep its type, and the first file that has it.
    kept: BTreeMap<String, (String, String)>,
}

impl Agreed {
    fn id_kind(&self) -> Option<IdKind> {
        self.first.as_ref().map(|(_, id_kind)| *id_kind)
    }

    fn kind(&self) -> FileKind {
        match (&self.first, &self.galaxies) {
            (Some(_), None) => FileKind::SpecZ,
            _ => FileKind::Galaxies,
        }
    }

    fn keep(&self) -> KeptTypes {
        let kept = self.kept.iter();
        kept.map(|(name, (known, _))| (name.clone(), known.clone()))
            .collect()
    }

    /// Takes a file in, where it is like those before it. One without rows need not be.
    fn take(&mut self, drop: &str, path: &str, file: &LookedAt) -> Result<(), Error> {
        let Some(layout) = &file.layout else {
            return Ok(());
        };
        let name = &file.name;
        layout.check_path(path).map_err(|source| Error::Schema {
            object: name.clone(),
            source,
        })?;
        let id_kind = layout.id_kind();
        let first = || (name.clone(), id_kind);
        let (first, first_id_kind) = self.first.get_or_insert_with(first);
        if *first_id_kind != id_kind {
            let reason = format!(
                "object_id is {first_id_kind} in {first}, and {id_kind} in {name}; a catalog has one type"
            );
            return Err(mixed(drop, reason));
        }
        match layout.kind() {
            FileKind::Galaxies => keep_first(&mut self.galaxies, name),
            FileKind::SpecZ if !layout.may_withdraw() => keep_first(&mut self.spec_z, name),
            FileKind::SpecZ => {}
        }
        if let (Some(galaxies), Some(spec_z)) = (&self.galaxies, &self.spec_z) {
            let reason = format!(
                "{galaxies} and {spec_z} are not of one kind: one has galaxies, the other z_spec and no cutouts, which makes it spec-z; deliver spec-z as a drop of its own"
            );
            return Err(mixed(drop, reason));
        }
        self.take_kept(drop, layout, name)
    }

    /// Makes sure that a column to keep has one type in all files. In a file that only withdraws, and lacks the column, it has
    /// no type.
    fn take_kept(&mut self, drop: &str, layout: &Layout, file: &str) -> Result<(), Error> {
        for (name, here) in layout.keep_fields().iter().map(kept_type) {
            let first = || (here.clone(), file.to_owned());
            let (there, other) = self.kept.entry(name.clone()).or_insert_with(first);
            if there == UNTYPED {
                (*there, *other) = (here, file.to_owned());
            } else if here != UNTYPED && here != *there {
                let reason = format!(
                    "column `{name}` of --keep is {here} in {file}, and {there} in {other}; write it alike in both, or leave --keep out"
                );
                return Err(mixed(drop, reason));
            }
        }
        Ok(())
    }
}

/// Keeps the first name.
fn keep_first(first: &mut Option<String>, name: &str) {
    first.get_or_insert_with(|| name.to_owned());
}

fn mixed(drop: &str, reason: String) -> Error {
    let drop = drop.to_owned();
    Error::Mixed { drop, reason }
}

/// A kept column's name and type.
fn kept_type(field: &FieldRef) -> (String, String) {
    let known = comparable(field.data_type()).to_string();
    (field.name().clone(), known)
}
