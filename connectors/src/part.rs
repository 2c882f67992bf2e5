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
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        StringArray, UInt32Array, UInt64Array,
    },
    compute::{
        SortColumn, SortOptions, cast, concat_batches, lexsort_to_indices, partition, take,
        take_record_batch,
    },
    datatypes::{DataType, Field, FieldRef, Float64Type, Metadata, Schema, UInt32Type, UInt64Type},
    error::ArrowError,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;

use crate::{
    galaxy::Galaxies,
    ledger::{FileRecord, Rows},
    read::Origin,
    sky,
};

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

/// Rows of a row group of the output.
const ROW_GROUP_ROWS: usize = 131_072;

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
///
/// The hash is XXH3 of the id's eight little-endian bytes, or of its text.
pub fn part_of(object_id: &dyn Array, row: usize, parts: u32) -> u32 {
    if parts <= 1 || object_id.is_null(row) {
        return 0;
    }
    let hash = match object_id.data_type() {
        DataType::Int64 => XxHash3_64::oneshot(
            &object_id
                .as_primitive::<arrow::datatypes::Int64Type>()
                .value(row)
                .to_le_bytes(),
        ),
        DataType::UInt64 => XxHash3_64::oneshot(
            &object_id
                .as_primitive::<UInt64Type>()
                .value(row)
                .to_le_bytes(),
        ),
        _ => XxHash3_64::oneshot(object_id.as_string::<i32>().value(row).as_bytes()),
    };
    (hash % u64::from(parts)) as u32
}

/// Sorts the rows of a chunk by folder and part. `doors` and `z_phot` have one value for each row; a row that is not
/// predicted has any `z_phot`.
///
/// # Errors
/// Where Arrow cannot take rows of a kept column.
pub fn pieces(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    z_phot: &[f32],
    keep: &[FieldRef],
    parts: u32,
) -> Result<Vec<Piece>, ArrowError> {
    let mut rows: std::collections::BTreeMap<(Folder, u32), Vec<u32>> = Default::default();
    for (row, door) in doors.iter().enumerate() {
        let folder = match door {
            Door::Predicted | Door::Withdrawn => Folder::Photoz,
            Door::Learned => Folder::SpecZ,
            Door::Rejected(_) => Folder::Rejects,
        };
        rows.entry((folder, part_of(&galaxies.object_id, row, parts)))
            .or_default()
            .push(row as u32);
    }
    rows.into_iter()
        .map(|((folder, part), rows)| {
            let rows = match folder {
                Folder::Photoz => photoz_rows(galaxies, origin, doors, z_phot, keep, &rows),
                Folder::SpecZ => specz_rows(galaxies, origin, &rows),
                Folder::Rejects => rejected_rows(galaxies, origin, doors, &rows),
            }?;
            Ok(Piece {
                part,
                folder,
                object: origin.object.clone(),
                object_index: origin.object_index,
                rows,
            })
        })
        .collect()
}

/// Columns of a batch: name, values and whether null is allowed.
type Column = (String, ArrayRef, bool);

fn batch(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn photoz_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    z_phot: &[f32],
    keep: &[FieldRef],
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let there = |row: &u32| doors[*row as usize] == Door::Predicted;
    let float64 = |array: &Float64Array| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| there(row).then(|| array.value(*row as usize)))
                .collect::<Float64Array>(),
        )
    };
    let z_spec = |row: &u32| {
        galaxies
            .z_spec
            .is_valid(*row as usize)
            .then(|| galaxies.z_spec.value(*row as usize))
    };
    let known = |row: &u32| {
        there(row)
            .then(|| z_spec(row).filter(|z| is_redshift(*z)))
            .flatten()
    };
    let mag_r = |row: &u32| {
        let mags = galaxies.mags.as_ref().filter(|_| there(row))?;
        mags[2]
            .is_valid(*row as usize)
            .then(|| mags[2].value(*row as usize))
    };
    let flags = rows.iter().map(|row| {
        // A null or NaN z_spec is how tables say "none"; any other that is no redshift is worth a flag.
        let ignored = there(row) && z_spec(row).is_some_and(|z| !z.is_nan() && !is_redshift(z));
        if there(row) {
            if ignored { Z_SPEC_IGNORED } else { 0 }
        } else {
            DELETED
        }
    });
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &UInt32Array::from(rows.to_vec()), None)?,
            false,
        ),
        ("ra".into(), float64(&galaxies.ra), true),
        ("dec".into(), float64(&galaxies.dec), true),
        (
            "z_phot".into(),
            Arc::new(
                rows.iter()
                    .map(|row| there(row).then(|| z_phot[*row as usize]))
                    .collect::<Float32Array>(),
            ),
            true,
        ),
        (
            "z_spec".into(),
            Arc::new(rows.iter().map(known).collect::<Float32Array>()),
            true,
        ),
        (
            "mag_r".into(),
            Arc::new(rows.iter().map(mag_r).collect::<Float32Array>()),
            true,
        ),
        (
            "z_flags".into(),
            Arc::new(flags.collect::<Int32Array>()),
            false,
        ),
    ];
    for (field, values) in keep.iter().zip(&galaxies.keep) {
        columns.push((
            field.name().clone(),
            take(values, &UInt32Array::from(rows.to_vec()), None)?,
            true,
        ));
    }
    columns.extend(places(origin, rows));
    batch(columns)
}

fn specz_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let indices = UInt32Array::from(rows.to_vec());
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &indices, None)?,
            false,
        ),
        (
            "z_spec".into(),
            take(&galaxies.z_spec, &indices, None)?,
            true,
        ),
    ];
    columns.extend(places(origin, rows));
    batch(columns)
}

fn rejected_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let reason = |row: &u32| match &doors[*row as usize] {
        Door::Rejected(reason) => reason.as_str(),
        _ => "",
    };
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &UInt32Array::from(rows.to_vec()), None)?,
            true,
        ),
        (
            "reason".into(),
            Arc::new(StringArray::from_iter_values(rows.iter().map(reason))),
            false,
        ),
    ];
    columns.extend(places(origin, rows));
    batch(columns)
}

/// Where rows were found: the row group, and the row in it.
fn places(origin: &Origin, rows: &[u32]) -> [Column; 2] {
    let (groups, rows): (Vec<u32>, Vec<u64>) =
        rows.iter().map(|row| origin.locate(*row as usize)).unzip();
    let rows: ArrayRef = Arc::new(UInt64Array::from(rows));
    [
        (ROW_GROUP.into(), Arc::new(UInt32Array::from(groups)), false),
        (ROW.into(), rows, false),
    ]
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
    settle_duplicates(&mut photoz, &mut specz, &mut rejected, &objects)?;
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
                Folder::Photoz => photoz_file(&rows, label),
                Folder::SpecZ => specz_file(&rows, label),
                Folder::Rejects => rejects_file(&rows, &objects),
            }?;
            files.push(encode(folder, &rows, label)?);
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

/// Takes all rows of an id but its first out of the two batches and adds them to the rejected.
fn settle_duplicates(
    photoz: &mut Option<RecordBatch>,
    specz: &mut Option<RecordBatch>,
    rejected: &mut Vec<RecordBatch>,
    objects: &HashMap<u32, String>,
) -> Result<(), ArrowError> {
    let mut keys = Vec::new();
    for (folder, rows) in [(0_u32, &*photoz), (1, &*specz)] {
        if let Some(rows) = rows {
            let mut columns: Vec<Column> = ["object_id", OBJECT, ROW_GROUP, ROW]
                .map(|name| (name.to_owned(), column(rows, name), false))
                .into();
            columns.push((
                "folder".into(),
                Arc::new(UInt32Array::from_value(folder, rows.num_rows())),
                false,
            ));
            columns.push((
                "index".into(),
                Arc::new(UInt32Array::from_iter_values(0..rows.num_rows() as u32)),
                false,
            ));
            keys.push(batch(columns)?);
        }
    }
    let Some(first) = keys.first() else {
        return Ok(());
    };
    let keys = concat_batches(&first.schema(), &keys)?;
    let order = lexsort_to_indices(
        &ascending(&keys, &["object_id", OBJECT, ROW_GROUP, ROW]),
        None,
    )?;
    let keys = take_record_batch(&keys, &order)?;
    let runs = partition(&[column(&keys, "object_id")])?.ranges();
    let losers: Vec<(u32, String)> = runs
        .into_iter()
        .flat_map(|run| {
            let reason = reason_duplicate(&keys, run.start, run.len(), objects);
            run.skip(1).map(move |row| (row as u32, reason.clone()))
        })
        .collect();
    if losers.is_empty() {
        return Ok(());
    }
    let lost = take_record_batch(
        &keys,
        &losers.iter().map(|(row, _)| *row).collect::<UInt32Array>(),
    )?;
    let reasons: ArrayRef = Arc::new(StringArray::from_iter_values(
        losers.iter().map(|(_, reason)| reason),
    ));
    rejected.push(batch(vec![
        ("object_id".into(), column(&lost, "object_id"), true),
        ("reason".into(), reasons, false),
        (ROW_GROUP.into(), column(&lost, ROW_GROUP), false),
        (ROW.into(), column(&lost, ROW), false),
        (OBJECT.into(), column(&lost, OBJECT), false),
    ])?);
    for (folder, rows) in [(0, photoz), (1, specz)] {
        *rows = rows
            .take()
            .map(|rows| without(&rows, &lost, folder))
            .transpose()?;
    }
    Ok(())
}

fn reason_duplicate(
    keys: &RecordBatch,
    first: usize,
    rows: usize,
    objects: &HashMap<u32, String>,
) -> String {
    if rows < 2 {
        return String::new();
    }
    let object = column(keys, OBJECT)
        .as_primitive::<UInt32Type>()
        .value(first);
    let group = column(keys, ROW_GROUP)
        .as_primitive::<UInt32Type>()
        .value(first);
    let row = column(keys, ROW).as_primitive::<UInt64Type>().value(first);
    let object = objects.get(&object).map_or("?", String::as_str);
    format!(
        "object_id comes twice in this drop: the first stays, in {object}, row group {group}, row {row}"
    )
}

/// The rows of a folder that are not among the lost.
fn without(rows: &RecordBatch, lost: &RecordBatch, folder: u32) -> Result<RecordBatch, ArrowError> {
    let (folders, indices) = (column(lost, "folder"), column(lost, "index"));
    let mut stays = vec![true; rows.num_rows()];
    for (lost_folder, index) in folders
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .zip(indices.as_primitive::<UInt32Type>().values())
    {
        if *lost_folder == folder {
            stays[*index as usize] = false;
        }
    }
    arrow::compute::filter_record_batch(rows, &stays.into())
}

fn photoz_file(rows: &RecordBatch, label: &PartLabel) -> Result<RecordBatch, ArrowError> {
    let (ra, dec) = (column(rows, "ra"), column(rows, "dec"));
    let cells = ra
        .as_primitive::<Float64Type>()
        .iter()
        .zip(dec.as_primitive::<Float64Type>());
    let cells: Int64Array = cells
        .map(|(ra, dec)| Some(sky::healpix_29(ra?, dec?)))
        .collect();
    let rows = with_columns(rows, vec![("_healpix_29".into(), Arc::new(cells), true)])?;
    let order = lexsort_to_indices(&ascending(&rows, &["_healpix_29", "object_id"]), None)?;
    let rows = take_record_batch(&rows, &order)?;
    let text = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            value,
            rows.num_rows(),
        )))
    };
    let id_type = column(&rows, "object_id").data_type().clone();
    let short_id = &label.model_id[..label.model_id.len().min(12)];
    let mut fields = vec![
        described(
            "object_id",
            id_type,
            false,
            "",
            "meta.id;meta.main",
            "the object's id in the catalog",
        ),
        described(
            "ra",
            DataType::Float64,
            true,
            "deg",
            "pos.eq.ra;meta.main",
            "right ascension, ICRS",
        ),
        described(
            "dec",
            DataType::Float64,
            true,
            "deg",
            "pos.eq.dec;meta.main",
            "declination, ICRS",
        ),
        described(
            "_healpix_29",
            DataType::Int64,
            true,
            "",
            "pos.healpix",
            "HEALPix cell of order 29, nested",
        ),
        described(
            "z_phot",
            DataType::Float32,
            true,
            "",
            "src.redshift.phot;meta.main",
            "predicted redshift",
        ),
        described(
            "z_spec",
            DataType::Float32,
            true,
            "",
            "src.redshift",
            "spectroscopic redshift that came with the row",
        ),
        described(
            "mag_r",
            DataType::Float32,
            true,
            "mag",
            "phot.mag;em.opt.R",
            "r magnitude, AB, extinction-corrected",
        ),
        described(
            "z_flags",
            DataType::Int32,
            false,
            "",
            "meta.code",
            "bits, named in the file's metadata",
        ),
        described(
            "model_id",
            DataType::Utf8,
            false,
            "",
            "meta.id;meta.modelled",
            "first digits of the model's SHA-256",
        ),
        described(
            "drop",
            DataType::Utf8,
            false,
            "",
            "meta.id;meta.dataset",
            "the delivery the row came with",
        ),
    ];
    let mut columns: Vec<ArrayRef> = [
        "object_id",
        "ra",
        "dec",
        "_healpix_29",
        "z_phot",
        "z_spec",
        "mag_r",
        "z_flags",
    ]
    .map(|name| column(&rows, name))
    .into();
    columns.extend([text(short_id), text(&label.drop)]);
    let own = [OBJECT, ROW_GROUP, ROW];
    for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
        let named = fields.iter().any(|known| known.name() == field.name())
            || own.contains(&field.name().as_str());
        if !named {
            fields.push((**field).clone());
            columns.push(array.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn specz_file(rows: &RecordBatch, label: &PartLabel) -> Result<RecordBatch, ArrowError> {
    let rows = take_record_batch(
        rows,
        &lexsort_to_indices(&ascending(rows, &["object_id"]), None)?,
    )?;
    let drop = StringArray::from_iter_values(std::iter::repeat_n(&label.drop, rows.num_rows()));
    batch(vec![
        ("object_id".into(), column(&rows, "object_id"), false),
        ("z_spec".into(), column(&rows, "z_spec"), false),
        ("drop".into(), Arc::new(drop), false),
    ])
}

fn rejects_file(
    rows: &RecordBatch,
    objects: &HashMap<u32, String>,
) -> Result<RecordBatch, ArrowError> {
    let order = lexsort_to_indices(&ascending(rows, &[OBJECT, ROW_GROUP, ROW]), None)?;
    let rows = take_record_batch(rows, &order)?;
    let object = column(&rows, OBJECT);
    let names = object
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .map(|index| objects.get(index).map(String::as_str));
    batch(vec![
        ("object_id".into(), column(&rows, "object_id"), true),
        ("reason".into(), column(&rows, "reason"), false),
        (
            "object".into(),
            Arc::new(names.collect::<StringArray>()),
            false,
        ),
        ("row_group".into(), column(&rows, ROW_GROUP), false),
        ("row".into(), column(&rows, ROW), false),
    ])
}

fn described(
    name: &str,
    of: DataType,
    nullable: bool,
    unit: &str,
    ucd: &str,
    description: &str,
) -> Field {
    let facts = [("unit", unit), ("ucd", ucd), ("description", description)];
    let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    Field::new(name, of, nullable).with_metadata(facts.collect::<Metadata>())
}

fn encode(
    folder: Folder,
    rows: &RecordBatch,
    label: &PartLabel,
) -> Result<EncodedFile, ArrowError> {
    let flags: serde_json::Map<_, _> = FLAGS
        .iter()
        .map(|(name, bit)| ((*name).to_owned(), (*bit).into()))
        .collect();
    let notes = vec![
        KeyValue::new(
            "hubbleflow.z_flags".to_owned(),
            serde_json::Value::Object(flags).to_string(),
        ),
        KeyValue::new("hubbleflow.model_id".to_owned(), label.model_id.clone()),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(format!("hubbleflow {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata((folder == Folder::Photoz).then_some(notes))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.close()?;
    let sha256: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = format!(
        "{}/{}/part-{:04}-{}.parquet",
        folder.name(),
        label.drop,
        label.part,
        &sha256[..8]
    );
    let record = FileRecord {
        path,
        rows: rows.num_rows() as u64,
        bytes: bytes.len() as u64,
        sha256,
    };
    Ok(EncodedFile { record, bytes })
}
