//! A catalog that is replayed: its files, and the passes over them.
use std::{ops::Range, sync::Arc, time::SystemTime};

use connectors::{Error as ConnectorsError, Location, read_footer};
use hubbleflow::units::HumanBytes;
use object_store::{ObjectMeta, path::Path};
use parquet::errors::ParquetError;

use super::{
    names::{PASSES_MAX, in_pass, parse},
    original::{Choice, Original, originals, tail},
    tail::Tail,
    tails::Tails,
};
use crate::Error;

/// A catalog, and the passes over it.
#[derive(Debug)]
pub struct ReplayedCatalog {
    /// The place of the files.
    pub place: Location,
    choice: Choice,
    /// In the byte order of their paths.
    files: Vec<Original>,
    passes: u64,
    /// The first ids of two passes differ by this number.
    ids: u64,
    tails: Tails,
}

/// An object of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// The number of the pass.
    pub pass: u64,
    file: usize,
}

impl ReplayedCatalog {
    /// The fewest passes over a catalog that have `bytes` bytes. If one pass has more, the first of its files that have them.
    ///
    /// # Errors
    /// Those of [`originals`]; [`Error::Usage`] if there are no rows, or too many passes.
    pub async fn new(place: Location, choice: Choice, bytes: u64) -> Result<Self, Error> {
        let mut files = originals(&place, &choice).await?;
        let rows = files.last().map_or(0, |file| file.rows.end);
        if rows == 0 {
            let reason = format!("{}: no rows with `ra` to replay", place.url);
            return Err(Error::Usage(reason));
        }
        let sizes = files.iter().map(|file| file.object.bytes);
        let passes = bytes.div_ceil(sizes.sum()).max(1);
        if passes > PASSES_MAX {
            return Err(Error::Usage(format!(
                "--bytes {}: {} would be replayed {passes} times, and {PASSES_MAX} passes have names; give a larger catalog",
                HumanBytes(bytes),
                place.url
            )));
        }
        if passes == 1 {
            files.truncate(files_of(&files, bytes));
        }
        // A power of ten, so that the pass can be read off an id.
        let ids = 10_u64.checked_pow(rows.ilog10() + 1);
        let ids = ids.filter(|ids| {
            ids.checked_mul(passes)
                .is_some_and(|all| all <= i64::MAX as u64)
        });
        let ids = ids.ok_or_else(|| {
            Error::Usage(format!(
                "{}: {passes} passes over {rows} rows are more than there are ids",
                place.url
            ))
        })?;
        Ok(Self {
            place,
            choice,
            files,
            passes,
            ids,
            tails: Tails::default(),
        })
    }

    /// The number of passes.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// The size of all passes, counted by the files of the catalog as they are stored.
    pub fn bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.object.bytes);
        self.passes * files.sum::<u64>()
    }

    /// The object of this path below the catalog.
    pub fn find(&self, path: &str) -> Option<Object> {
        let (pass, path) = parse(path).filter(|(pass, _)| *pass < self.passes)?;
        let file = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        Some(Object { pass, file })
    }

    /// The objects in a folder below the catalog, in the byte order of their paths. They are found one after another.
    pub fn below(self: &Arc<Self>, folder: &str) -> impl Iterator<Item = Object> + Send + use<> {
        let (passes, files) = match parse(folder) {
            _ if folder.is_empty() => (0..self.passes, 0..self.files.len()),
            Some((pass, folder)) if pass < self.passes => (pass..pass + 1, self.files_in(folder)),
            _ => (0..0, 0..0),
        };
        passes.flat_map(move |pass| files.clone().map(move |file| Object { pass, file }))
    }

    /// The places of the files in a folder.
    fn files_in(&self, folder: &str) -> Range<usize> {
        let inside = format!("{folder}/");
        let start = self.files.partition_point(|file| file.path < inside);
        let files = self.files[start..].iter();
        let count = files
            .take_while(|file| file.path.starts_with(&inside))
            .count();
        start..start + count
    }

    /// The place, size and ETag of an object. The ETag names the pass, the first id and the ETag of the file.
    ///
    /// # Errors
    /// [`ConnectorsError::Url`] if its path is not valid.
    pub fn meta(&self, object: Object) -> Result<ObjectMeta, ConnectorsError> {
        let file = self.original(object);
        let etag = file.object.etag.as_deref().unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        Ok(ObjectMeta {
            location: self.place.path(&in_pass(object.pass, &file.path))?,
            last_modified: SystemTime::UNIX_EPOCH.into(),
            size: file.bytes(object.pass == 0),
            e_tag: Some(format!(
                "\"{}-{etag}\"",
                in_pass(object.pass, &self.first_id(object).to_string())
            )),
            version: None,
        })
    }

    /// The file of the catalog that an object repeats.
    pub fn original(&self, object: Object) -> &Original {
        &self.files[object.file]
    }

    /// The id of an object's first row. The ids of its rows count up.
    pub fn first_id(&self, object: Object) -> u64 {
        object.pass * self.ids + self.original(object).rows.start
    }

    /// The tail of an object: the bytes after those of the file.
    ///
    /// # Errors
    /// Those of the store and of damaged files; [`ConnectorsError::Changed`].
    pub async fn tail(&self, object: Object) -> Result<Arc<Tail>, ConnectorsError> {
        let (file, is_first) = (self.original(object), object.pass == 0);
        let key = (object.file, is_first);
        if let Some(tail) = self.tails.get(key) {
            return Ok(tail);
        }
        let footer = read_footer(&self.place, &file.object).await?;
        let made = tail(&footer, &file.object, &self.choice.names, is_first);
        let made = Arc::new(made.map_err(|error| self.corrupt(object, &error))?);
        self.tails.keep(key, &made);
        Ok(made)
    }

    /// The error for a file of which no object can be made.
    pub fn corrupt(&self, object: Object, error: &ParquetError) -> ConnectorsError {
        ConnectorsError::Corrupt {
            object: self.place.url_of(&self.original(object).object.path),
            reason: error.to_string(),
        }
    }

    /// The path of an object below the catalog, if it lies in the catalog.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a str {
        self.place.relative(path)
    }
}

/// The number of files that have `bytes` bytes, at least one with rows.
fn files_of(files: &[Original], bytes: u64) -> usize {
    let mut sum = 0;
    let is_enough = |file: &Original| {
        sum += file.object.bytes;
        sum >= bytes && file.rows.end > 0
    };
    files
        .iter()
        .position(is_enough)
        .map_or(files.len(), |last| last + 1)
}
