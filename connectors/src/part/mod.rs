//! What goes out: rows by the door they leave through, gathered by part, and each part as Parquet.
//!
//! | file | columns |
//! |---|---|
//! | `photoz/<drop>/part-…` | `object_id` `ra` `dec` (deg) `_healpix_29` `z_phot` `z_spec` `mag_r` (AB) `z_flags` `model_id` `drop`, and what is kept |
//! | `specz/<drop>/part-…` | `object_id` `z_spec` `drop` |
//! | `rejects/<drop>/part-…` | `object_id` `reason` `object` `row_group` `row` |
//!
//! A part holds the rows whose `object_id` hashes to it, so it sees every row of an object: where an id comes twice, the
//! first in the order (object, row group, row) stays. Rows are sorted and files are named by their contents, so a file is
//! a function of the drop, the model and the settings, whoever writes it.
mod duplicates;
mod files;
mod kept;
mod pieces;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{SortColumn, SortOptions, concat_batches},
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema, UInt64Type},
    error::ArrowError,
};
use twox_hash::XxHash3_64;

use crate::ledger::{FileRecord, Rows};

pub use pieces::{Outcomes, pieces};

/// Bits of `z_flags`, by name; the names travel in the Parquet metadata.
pub const FLAGS: [(&str, i32); 3] = [
    ("DELETED", DELETED),
    ("Z_SPEC_IGNORED", Z_SPEC_IGNORED),
    ("BLANK_BAND", BLANK_BAND),
];
/// The object is withdrawn: position, magnitude and redshifts are null.
pub const DELETED: i32 = 1;
/// The row came with a z_spec that is no redshift (exactly 0, or outside `--z-spec-min` and `--z-spec-max`): it is null here.
pub const Z_SPEC_IGNORED: i32 = 2;
/// At least one band of the row's cutout has one value in all pixels, so the model saw nothing there.
pub const BLANK_BAND: i32 = 4;

/// Where a row was found, in pieces: names that no column to keep may have.
pub(crate) const OBJECT: &str = "__object";
pub(crate) const ROW_GROUP: &str = "__row_group";
pub(crate) const ROW: &str = "__row";
/// A row's place among all rows of a part's pieces, where its kept columns are.
pub(crate) const PLACE: &str = "__place";

/// The door through which a row leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Door {
    /// To `photoz/`, with a prediction.
    Predicted,
    /// To `photoz/`, as a withdrawn object.
    Withdrawn,
    /// To `specz/`.
    Learned,
    /// To `rejects/`, with the reason.
    Rejected(String),
}

/// Which of the three kinds of file rows go to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Folder {
    /// Predicted and withdrawn rows.
    Photoz,
    /// Learned rows.
    SpecZ,
    /// Rejected rows.
    Rejects,
}

impl Folder {
    /// The folder of a file by its path below the output.
    pub fn of(path: &str) -> Option<Self> {
        let first = path.split('/').next();
        [Self::Photoz, Self::SpecZ, Self::Rejects]
            .into_iter()
            .find(|folder| Some(folder.name()) == first)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Photoz => "photoz",
            Self::SpecZ => "specz",
            Self::Rejects => "rejects",
        }
    }
}

/// Rows of one object on their way to a part.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The part.
    pub part: u32,
    /// Where the rows go.
    pub folder: Folder,
    /// The object they were read from, below the catalog.
    pub object: String,
    /// Its place among the drop's objects.
    pub object_index: u32,
    /// The rows: the file's columns as far as they are known, then where they were found.
    pub rows: RecordBatch,
}

/// The part of an object: the same in every drop that has as many parts.
pub fn part_of(object_id: &dyn Array, row: usize, parts: u32) -> u32 {
    if parts <= 1 || object_id.is_null(row) {
        return 0;
    }
    (id_hash(object_id, row) % u64::from(parts)) as u32
}

/// What stands for an object wherever objects are divided: XXH3 of the id's eight little-endian bytes, or of its text.
///
/// # Panics
/// If the ids are of none of the types that a catalog may have.
pub fn id_hash(object_id: &dyn Array, row: usize) -> u64 {
    match object_id.data_type() {
        DataType::Int64 => {
            let id = object_id.as_primitive::<Int64Type>().value(row);
            XxHash3_64::oneshot(&id.to_le_bytes())
        }
        DataType::UInt64 => {
            let id = object_id.as_primitive::<UInt64Type>().value(row);
            XxHash3_64::oneshot(&id.to_le_bytes())
        }
        _ => XxHash3_64::oneshot(object_id.as_string::<i32>().value(row).as_bytes()),
    }
}

/// A column of a batch.
type Column = (FieldRef, ArrayRef);

/// A column of a name, and whether null is allowed in it.
fn named(name: &str, values: ArrayRef, nullable: bool) -> Column {
    let field = Field::new(name, values.data_type().clone(), nullable);
    (Arc::new(field), values)
}

fn batch(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// What a part's files carry beside their rows.
#[derive(Clone, Debug)]
pub struct PartLabel {
    /// The drop.
    pub drop: String,
    /// The number of the part.
    pub part: u32,
    /// The model's whole id.
    pub model_id: String,
}

/// A file of a part: what the ledger will list, and its bytes.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// Path, rows, size and checksum.
    pub record: FileRecord,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Settles duplicate ids, sorts and encodes a part.
///
/// # Errors
/// Where pieces of a part do not have the same columns.
pub fn finish(
    pieces: Vec<Piece>,
    label: &PartLabel,
) -> Result<(Vec<EncodedFile>, Rows), ArrowError> {
    let objects: HashMap<u32, String> = pieces
        .iter()
        .map(|piece| (piece.object_index, piece.object.clone()))
        .collect();
    let of_folder = |folder| pieces.iter().filter(move |piece| piece.folder == folder);
    let (mut photoz, mut specz, rejects) = (
        gather(of_folder(Folder::Photoz))?,
        gather(of_folder(Folder::SpecZ))?,
        gather(of_folder(Folder::Rejects))?,
    );
    let kept = kept::Kept::of(of_folder(Folder::Photoz))?;
    drop(pieces);
    let mut rejected: Vec<RecordBatch> = Vec::new();
    rejected.extend(rejects);
    duplicates::settle_duplicates(&mut photoz, &mut specz, &mut rejected, &objects)?;
    let rejects = match rejected.first() {
        Some(first) => Some(concat_batches(&first.schema(), &rejected)?),
        None => None,
    };
    let count =
        |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
    let (written, learned, rejected) = (count(&photoz), count(&specz), count(&rejects));
    let mut files = Vec::new();
    for (folder, rows) in [
        (Folder::Photoz, photoz),
        (Folder::SpecZ, specz),
        (Folder::Rejects, rejects),
    ] {
        if let Some(rows) = rows.filter(|rows| rows.num_rows() > 0) {
            files.push(match folder {
                Folder::Photoz => files::photoz_file(&rows, &kept, label),
                Folder::SpecZ => files::specz_file(&rows, label),
                Folder::Rejects => files::rejects_file(&rows, &objects, label),
            }?);
        }
    }
    Ok((
        files,
        Rows {
            read: written + learned + rejected,
            written,
            learned,
            rejected,
        },
    ))
}

/// One batch of a folder's pieces in the columns that are our own, with the object and the place of each row.
fn gather<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Result<Option<RecordBatch>, ArrowError> {
    let (mut batches, mut place) = (Vec::new(), 0);
    for piece in pieces {
        let rows = piece.rows.num_rows();
        let object: ArrayRef = Arc::new(UInt32Array::from_value(piece.object_index, rows));
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(place..place + rows as u32));
        place += rows as u32;
        let fields = piece.rows.schema_ref().fields().iter().cloned();
        let own = fields
            .zip(piece.rows.columns().iter().cloned())
            .filter(|(field, _)| !kept::is_kept(piece.folder, field.name()));
        let found = [named(OBJECT, object, false), named(PLACE, places, false)];
        batches.push(batch(own.chain(found).collect())?);
    }
    match batches.first() {
        Some(first) => concat_batches(&first.schema(), &batches).map(Some),
        None => Ok(None),
    }
}

fn with_columns(rows: &RecordBatch, more: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let mine = rows.schema_ref().fields().iter().cloned();
    let mine = mine.zip(rows.columns().iter().cloned());
    batch(mine.chain(more).collect())
}

fn column(rows: &RecordBatch, name: &str) -> ArrayRef {
    rows.column_by_name(name)
        .unwrap_or_else(|| panic!("pieces carry the column {name}"))
        .clone()
}

const ASCENDING: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

fn ascending(rows: &RecordBatch, names: &[&str]) -> Vec<SortColumn> {
    names
        .iter()
        .map(|name| SortColumn {
            values: column(rows, name),
            options: Some(ASCENDING),
        })
        .collect()
}
