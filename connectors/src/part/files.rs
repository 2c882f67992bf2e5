//! The files of a part: their columns, in their order, as Parquet named by its contents.
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    compute::{lexsort_to_indices, take_record_batch},
    datatypes::{Field, Float64Type, Metadata, Schema, UInt32Type},
    error::ArrowError,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    EncodedFile, FLAGS, Folder, OBJECT, PartLabel, ROW, ROW_GROUP, ascending, batch, column,
    with_columns,
};
use crate::{
    ledger::{FileRecord, checksum},
    sky,
};

/// Rows of a row group of the output.
const ROW_GROUP_ROWS: usize = 131_072;

/// The columns of `photoz/` in their order: name, unit, UCD and description.
const PHOTOZ: [(&str, &str, &str, &str); 10] = [
    (
        "object_id",
        "",
        "meta.id;meta.main",
        "the object's id in the catalog",
    ),
    ("ra", "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    ("dec", "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    (
        "_healpix_29",
        "",
        "pos.healpix",
        "HEALPix cell of order 29, nested",
    ),
    (
        "z_phot",
        "",
        "src.redshift.phot;meta.main",
        "predicted redshift",
    ),
    (
        "z_spec",
        "",
        "src.redshift",
        "spectroscopic redshift that came with the row",
    ),
    (
        "mag_r",
        "mag",
        "phot.mag;em.opt.R",
        "r magnitude, AB, extinction-corrected",
    ),
    (
        "z_flags",
        "",
        "meta.code",
        "bits, named in the file's metadata",
    ),
    (
        "model_id",
        "",
        "meta.id;meta.modelled",
        "first digits of the model's SHA-256",
    ),
    (
        "drop",
        "",
        "meta.id;meta.dataset",
        "the delivery the row came with",
    ),
];

/// The rows of `photoz/`: the columns above, then those that are kept.
pub(super) fn photoz_file(
    rows: &RecordBatch,
    label: &PartLabel,
) -> Result<RecordBatch, ArrowError> {
    let (ra, dec) = (column(rows, "ra"), column(rows, "dec"));
    let positions = ra
        .as_primitive::<Float64Type>()
        .iter()
        .zip(dec.as_primitive::<Float64Type>());
    let cells: Int64Array = positions
        .map(|(ra, dec)| Some(sky::healpix_29(ra?, dec?)))
        .collect();
    let text = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            value,
            rows.num_rows(),
        )))
    };
    let short_id = &label.model_id[..label.model_id.len().min(12)];
    let rows = with_columns(
        rows,
        vec![
            ("_healpix_29".into(), Arc::new(cells), true),
            ("model_id".into(), text(short_id), false),
            ("drop".into(), text(&label.drop), false),
        ],
    )?;
    let order = lexsort_to_indices(&ascending(&rows, &["_healpix_29", "object_id"]), None)?;
    let rows = take_record_batch(&rows, &order)?;
    let schema = rows.schema();
    let described = PHOTOZ.iter().map(|(name, unit, ucd, description)| {
        let facts = [("unit", unit), ("ucd", ucd), ("description", description)];
        let facts = facts
            .into_iter()
            .filter(|(_, fact)| !fact.is_empty())
            .map(|(key, fact)| (key, *fact));
        Ok(schema
            .field_with_name(name)?
            .clone()
            .with_metadata(facts.collect::<Metadata>()))
    });
    let own = |field: &Field| {
        let name = field.name().as_str();
        [OBJECT, ROW_GROUP, ROW].contains(&name) || PHOTOZ.iter().any(|(known, ..)| *known == name)
    };
    let kept = schema
        .fields()
        .iter()
        .filter(|field| !own(field))
        .map(|field| Ok(field.as_ref().clone()));
    let fields = described
        .chain(kept)
        .collect::<Result<Vec<Field>, ArrowError>>()?;
    let columns = fields
        .iter()
        .map(|field| column(&rows, field.name()))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The rows of `specz/`.
pub(super) fn specz_file(rows: &RecordBatch, label: &PartLabel) -> Result<RecordBatch, ArrowError> {
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

/// The rows of `rejects/`.
pub(super) fn rejects_file(
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

/// A file as Parquet.
pub(super) fn encode(
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
    let sha256 = checksum(&bytes);
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
