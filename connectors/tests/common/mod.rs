//! What tests of stores share: places, small catalogs, and a store that fails as it is told.
#![allow(
    dead_code,
    reason = "two test binaries share this, and each uses its part"
)]
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use connectors::{
    Catalog, DropBy, DropPlan, Error, Location, Split,
    budget::Budget,
    galaxy::{ColumnNames, Request},
    ledger::{Entry, FileRecord, Kind, checksum},
};
use futures::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream::BoxStream,
};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, memory::InMemory, path::Path,
};
use parquet::{
    arrow::ArrowWriter,
    file::properties::{EnabledStatistics, WriterProperties},
};

/// A place in memory.
pub fn memory() -> Location {
    with_store(Arc::new(InMemory::new()))
}

/// A place in any store.
pub fn with_store(store: Arc<dyn ObjectStore>) -> Location {
    Location {
        store,
        prefix: Path::from("survey"),
        url: "memory://survey".to_owned(),
        folder: None,
        pages: None,
    }
}

/// The same place, its requests made through a store that fails as it is told.
pub fn failing(
    location: &Location,
    fault: impl Fn(&Asked<'_>) -> Fault + Send + Sync + 'static,
) -> Location {
    let store = Faulty {
        inner: location.store.clone(),
        fault: Arc::new(fault),
    };
    Location {
        store: Arc::new(store),
        ..location.clone()
    }
}

/// A place below another.
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

/// Writes an object below a place.
pub async fn put(location: &Location, path: &str, bytes: impl Into<PutPayload>) {
    location
        .store
        .put(&location.path(path).unwrap(), bytes.into())
        .await
        .unwrap();
}

/// The paths of all objects below a place, sorted.
pub async fn paths(location: &Location) -> Vec<String> {
    let listed = location
        .store
        .list(Some(&location.prefix))
        .map_ok(|meta| location.relative(&meta.location).to_owned());
    let mut paths: Vec<String> = listed.try_collect().await.unwrap();
    paths.sort();
    paths
}

/// What readers who glob see.
pub async fn published(here: &Location) -> Vec<String> {
    paths(here)
        .await
        .into_iter()
        .filter(|path| !path.starts_with("_hubbleflow/"))
        .collect()
}

/// What waits to be committed.
pub async fn staged(here: &Location) -> Vec<String> {
    paths(here)
        .await
        .into_iter()
        .filter(|path| path.starts_with("_hubbleflow/staging/"))
        .collect()
}

/// An entry that commits files of a drop, each of which holds the attempt's name.
pub fn entry(drop: &str, attempt: &str, files: &[&str]) -> Entry {
    let record = |path: &&str| FileRecord {
        path: (*path).to_owned(),
        rows: 1,
        bytes: attempt.len() as u64,
        sha256: checksum(attempt.as_bytes()),
    };
    Entry {
        kind: Kind::Drop,
        drop: drop.to_owned(),
        files: files.iter().map(record).collect(),
        ..Entry::abandoned(attempt, "0")
    }
}

/// Galaxies without cutouts: `ra`, `dec` and magnitudes follow from the id.
pub fn galaxies(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Int64Array = ids.collect();
    let spread = |step: f64, limit: f64| {
        ids.values()
            .iter()
            .map(move |id| (*id as f64 * step).rem_euclid(limit))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "ra",
            Arc::new(spread(0.37, 360.0).collect::<Float64Array>()),
        ),
        (
            "dec",
            Arc::new(
                spread(0.11, 180.0)
                    .map(|dec| dec - 90.0)
                    .collect::<Float64Array>(),
            ),
        ),
    ];
    for mag in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"] {
        columns.push((
            mag,
            Arc::new(
                spread(0.013, 10.0)
                    .map(|mag| 15.0 + mag as f32)
                    .collect::<Float32Array>(),
            ),
        ));
    }
    columns.insert(0, ("object_id", Arc::new(ids.clone())));
    RecordBatch::try_from_iter(columns).unwrap()
}

/// How a Parquet file is laid out.
#[derive(Clone, Copy, Debug)]
pub struct LaidOut {
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// Rows of a page.
    pub page_rows: usize,
    /// Whether it tells where its pages lie.
    pub offset_index: bool,
}

/// A Parquet file of a batch.
pub fn parquet(batch: &RecordBatch, laid_out: LaidOut) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(laid_out.row_group_rows))
        .set_data_page_row_count_limit(laid_out.page_rows)
        .set_write_batch_size(laid_out.page_rows)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(!laid_out.offset_index)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// What a model that looks at magnitudes alone asks of a catalog.
pub fn request() -> Request {
    Request {
        names: ColumnNames::default(),
        keep: Vec::new(),
        needs_cutouts: false,
        needs_mags: true,
        cutout_px: 32,
    }
}

/// A catalog of such a model.
pub fn catalog(location: &Location) -> Arc<Catalog> {
    Arc::new(Catalog::new(location.clone(), DropBy::Child, request()))
}

/// Plans the one drop of that name.
pub async fn plan(
    catalog: &Catalog,
    drop: &str,
    split_bytes: u64,
) -> std::result::Result<DropPlan, Error> {
    let drops = catalog.drops().await?;
    let listing = drops
        .iter()
        .find(|listing| listing.name == drop)
        .expect("the drop is listed");
    catalog.plan(listing, "attempt", 1, split_bytes, 1).await
}

/// A row as it was read: object, row group, row and id.
pub type Seen = (String, u32, u64, i64);

/// Reads a split; the rows that came before an error are there too.
pub async fn read(
    catalog: &Arc<Catalog>,
    split: &Split,
    budget: &Budget,
) -> (Vec<Seen>, std::result::Result<(), Error>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let done = catalog.read(split, budget, move |chunk| {
        let ids = chunk.galaxies.object_id.as_primitive::<Int64Type>();
        let row = |row: usize| {
            let (group, in_group) = chunk.origin.locate(row);
            (chunk.origin.object.clone(), group, in_group, ids.value(row))
        };
        into.lock()
            .unwrap()
            .extend((0..chunk.galaxies.rows).map(row));
    });
    let done = done.await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, done)
}

/// Reads all splits of a plan, one after another.
pub async fn read_all(
    catalog: &Arc<Catalog>,
    plan: &DropPlan,
) -> std::result::Result<Vec<Seen>, Error> {
    let budget = Budget::new(64 << 20);
    let mut all = Vec::new();
    for split in plan.splits.clone() {
        let (seen, done) = read(catalog, &split, &budget).await;
        done?;
        all.extend(seen);
    }
    Ok(all)
}

/// The rows of a file whose ids count up from `first`, as they are to be read.
pub fn expected(object: &str, first: i64, rows: usize, row_group_rows: usize) -> Vec<Seen> {
    let place = |row: usize| (row / row_group_rows, row % row_group_rows);
    (0..rows)
        .map(|row| {
            (
                object.to_owned(),
                place(row).0 as u32,
                place(row).1 as u64,
                first + row as i64,
            )
        })
        .collect()
}

/// A request, as it is about to be made.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What is asked for.
    pub what: What,
    /// Of which object; of a copy, the target.
    pub path: &'a str,
}

/// The kinds of request that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Read an object, or ask whether it is there.
    Get,
    /// Write one.
    Put,
    /// Copy one.
    Copy,
    /// Delete one.
    Delete,
    /// List what is there.
    List,
}

/// What befalls a request.
pub enum Fault {
    /// Nothing.
    None,
    /// It is not carried out.
    Refuse,
    /// It is carried out, and the answer is lost.
    LoseAnswer,
    /// Half of the body arrives.
    CutBody,
    /// It overwrites what it was to create.
    Overwrite,
    /// Of a write: it is not carried out, and the answer says that it is.
    Pretend,
    /// Something else happens first.
    After(BoxFuture<'static, ()>),
    /// Something else happens, and it is not carried out: a request that is given up on.
    RefuseAfter(BoxFuture<'static, ()>),
}

/// Faults that look random and are the same for a seed, whatever the order of requests: each tenth request is refused,
/// loses its answer, is cut short, comes late or is given up on.
pub fn one_in_ten(seed: u64) -> impl Fn(&Asked<'_>) -> Fault + Send + Sync {
    let counts: Mutex<HashMap<(What, String), u64>> = Mutex::default();
    move |asked| {
        let mut counts = counts.lock().unwrap();
        let count = counts
            .entry((asked.what, asked.path.to_owned()))
            .or_default();
        *count += 1;
        let mut hasher = DefaultHasher::new();
        (seed, asked.what, asked.path, *count).hash(&mut hasher);
        let mut seeded = Seeded(hasher.finish());
        if seeded.below(0..10) > 0 {
            return Fault::None;
        }
        let late = || tokio::time::sleep(Duration::from_millis(50)).boxed();
        match seeded.below(0..5) {
            0 => Fault::Refuse,
            1 => Fault::LoseAnswer,
            2 if asked.what == What::Get => Fault::CutBody,
            3 => Fault::After(late()),
            4 => Fault::RefuseAfter(late()),
            _ => Fault::Refuse,
        }
    }
}

/// Whether a call is every `k`-th, counted from 1.
pub fn every(k: u64) -> impl Fn() -> bool + Send + Sync {
    let calls = AtomicU64::new(0);
    move || (calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(k)
}

type Rule = Arc<dyn Fn(&Asked<'_>) -> Fault + Send + Sync>;

/// A store that fails as it is told.
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Rule,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

fn broken<T>() -> Result<T> {
    Err(object_store::Error::Generic {
        store: "faulty",
        source: "connection reset".into(),
    })
}

/// Carries a request out, or not.
async fn befall<T>(fault: Fault, request: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        Fault::None | Fault::CutBody | Fault::Overwrite | Fault::Pretend => request.await,
        Fault::Refuse => broken(),
        Fault::LoseAnswer => {
            request.await?;
            broken()
        }
        Fault::After(first) => {
            first.await;
            request.await
        }
        Fault::RefuseAfter(first) => {
            first.await;
            broken()
        }
    }
}

impl Faulty {
    fn fault_of(&self, what: What, path: &Path) -> Fault {
        (self.fault)(&Asked {
            what,
            path: path.as_ref(),
        })
    }
}

/// An answer of which half the body arrives.
async fn cut_body(answer: GetResult) -> Result<GetResult> {
    let (meta, range, attributes) = (
        answer.meta.clone(),
        answer.range.clone(),
        answer.attributes.clone(),
    );
    let extensions = answer.extensions.clone();
    let body = answer.bytes().await?;
    let half = body.slice(..body.len() / 2);
    let payload = GetResultPayload::Stream(futures::stream::iter([Ok(half)]).boxed());
    Ok(GetResult {
        payload,
        meta,
        range,
        attributes,
        extensions,
    })
}

// Written out as `async_trait` would, which is no dependency of this project.
impl ObjectStore for Faulty {
    fn put_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        let fault = self.fault_of(What::Put, location);
        if matches!(fault, Fault::Overwrite) {
            options.mode = PutMode::Overwrite;
        }
        if matches!(fault, Fault::Pretend) {
            let done = PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            };
            return Box::pin(std::future::ready(Ok(done)));
        }
        Box::pin(befall(
            fault,
            self.inner.put_opts(location, payload, options),
        ))
    }

    fn put_multipart_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        options: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        self.inner.put_multipart_opts(location, options)
    }

    fn get_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        options: GetOptions,
    ) -> BoxFuture<'f, Result<GetResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        let fault = self.fault_of(What::Get, location);
        let cut = matches!(fault, Fault::CutBody) && !options.head;
        let answer = befall(fault, self.inner.get_opts(location, options));
        Box::pin(async move {
            if cut {
                cut_body(answer.await?).await
            } else {
                answer.await
            }
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, fault) = (self.inner.clone(), self.fault.clone());
        let delete = move |path: Result<Path>| {
            let (inner, fault) = (inner.clone(), fault.clone());
            async move {
                let path = path?;
                let asked = Asked {
                    what: What::Delete,
                    path: path.as_ref(),
                };
                let fault = fault(&asked);
                if !matches!(fault, Fault::Pretend) {
                    befall(fault, inner.delete(&path)).await?;
                }
                Ok(path)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let none = Path::default();
        let fault = self.fault_of(What::List, prefix.unwrap_or(&none));
        let listed = self.inner.list(prefix).try_collect::<Vec<_>>();
        let all = befall(fault, listed).map_ok(|all| futures::stream::iter(all).map(Ok));
        all.try_flatten_stream().boxed()
    }

    fn list_with_delimiter<'s, 'p, 'f>(
        &'s self,
        prefix: Option<&'p Path>,
    ) -> BoxFuture<'f, Result<ListResult>>
    where
        's: 'f,
        'p: 'f,
        Self: 'f,
    {
        let none = Path::default();
        let fault = self.fault_of(What::List, prefix.unwrap_or(&none));
        Box::pin(befall(fault, self.inner.list_with_delimiter(prefix)))
    }

    fn copy_opts<'s, 'a, 'b, 'f>(
        &'s self,
        from: &'a Path,
        to: &'b Path,
        options: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        let fault = self.fault_of(What::Copy, to);
        if matches!(fault, Fault::Pretend) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(befall(fault, self.inner.copy_opts(from, to, options)))
    }
}

/// Numbers that look random and are the same every time (splitmix64).
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    /// A number of the range.
    pub fn below(&mut self, range: Range<usize>) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) as usize % range.len()
    }

    /// Letters.
    pub fn text(&mut self, letters: usize) -> String {
        (0..letters)
            .map(|_| char::from(b'a' + self.below(0..26) as u8))
            .collect()
    }

    /// Shuffles.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(0..last + 1));
        }
    }
}
