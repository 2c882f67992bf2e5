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
mod pieces;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{SortColumn, SortOptions, cast, concat_batches},
    datatypes::{DataType, Int64Type, Schema, UInt64Type},
    error::ArrowError,
};
use twox_hash::XxHash3_64;

use crate::ledger::{FileRecord, Rows};

pub use pieces::pieces;

/// Bits of `z_flags`, by name; the names travel in the Parquet metadata.
pub const FLAGS: [(&str, i32); 2] = [("DELETED", DELETED), ("Z_SPEC_IGNORED", Z_SPEC_IGNORED)];
/// The object is withdrawn: position, magnitude and redshifts are null.
pub const DELETED: i32 = 1;
/// The row came with a z_spec that is no redshift (not finite, or not above -1): it is null here.
pub const Z_SPEC_IGNORED: i32 = 2;

/// Where a row was found, in pieces: names that no catalog's column has.
const OBJECT: &str = "__object";
const ROW_GROUP: &str = "__row_group";
const ROW: &str = "__row";

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

/// Columns of a batch: name, values and whether null is allowed.
type Column = (String, ArrayRef, bool);

fn batch(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable(columns)
}

/// Whether a number can be a redshift at all: `1 + z` is a ratio of wavelengths.
pub fn is_redshift(z: f32) -> bool {
    z.is_finite() && z > -1.0
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
    let gather = |folder| gather(pieces.iter().filter(|piece| piece.folder == folder));
    let (mut photoz, mut specz, rejects) = (
        gather(Folder::Photoz)?,
        gather(Folder::SpecZ)?,
        gather(Folder::Rejects)?,
    );
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
            let rows = match folder {
                Folder::Photoz => files::photoz_file(&rows, label),
                Folder::SpecZ => files::specz_file(&rows, label),
                Folder::Rejects => files::rejects_file(&rows, &objects),
            }?;
            files.push(files::encode(folder, &rows, label)?);
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

/// One batch of a folder's pieces, with the object of each row.
fn gather<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Result<Option<RecordBatch>, ArrowError> {
    let mut batches = Vec::new();
    for piece in pieces {
        let object = Arc::new(UInt32Array::from_value(
            piece.object_index,
            piece.rows.num_rows(),
        ));
        batches.push(with_columns(
            &piece.rows,
            vec![(OBJECT.into(), object, false)],
        )?);
    }
    let Some(first) = batches.first() else {
        return Ok(None);
    };
    // A file that only withdraws has no columns to keep: theirs are of no type, and take that of the others.
    let names = first.schema();
    let fields = names.fields().iter().enumerate().map(|(place, field)| {
        let of_type = |batch: &&RecordBatch| *batch.column(place).data_type() != DataType::Null;
        let known = batches
            .iter()
            .find(of_type)
            .map_or(DataType::Null, |batch| {
                batch.column(place).data_type().clone()
            });
        field.as_ref().clone().with_data_type(known)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cast_all = |batch: &RecordBatch| {
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| cast(column, field.data_type()));
        RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
    };
    let batches: Vec<RecordBatch> = batches.iter().map(cast_all).collect::<Result<_, _>>()?;
    concat_batches(&schema, &batches).map(Some)
}

fn with_columns(rows: &RecordBatch, more: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let mine = rows
        .schema()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, array)| (field.name().clone(), array.clone(), field.is_nullable()))
        .collect::<Vec<_>>();
    batch(mine.into_iter().chain(more).collect())
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
