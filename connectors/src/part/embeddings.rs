//! The columns of `embeddings/`. The folder is a catalog: another model can be run on it.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, FieldRef, Int32Type, Metadata},
    error::ArrowError,
};

use super::{
    columns::{Source, column},
    flags::DELETED,
    long_columns::LongColumns,
    photoz,
};

/// The columns of a file, in their order. Those that `photoz/` has too are the same.
pub(super) fn columns(
    rows: &RecordBatch,
    long: &LongColumns,
) -> Result<Vec<(FieldRef, Source)>, ArrowError> {
    let shared = |names: &[&str]| {
        let known = photoz::columns(None).into_iter();
        let named = known.filter(|column| names.contains(&column.in_pieces));
        let columns = named.map(|column| column.of(rows));
        columns.collect::<Result<Vec<_>, _>>()
    };
    let mut columns = shared(&["object_id", "ra", "dec", "_healpix_29"])?;
    columns.extend(
        long.of_embeddings()
            .map(|(place, name, field)| (Arc::new(described(name, field)), Source::Long(place))),
    );
    columns.extend(shared(&["z_spec"])?);
    columns.push(deleted(rows));
    columns.extend(shared(&["model_id", "drop"])?);
    Ok(columns)
}

/// The field of a list or of a magnitude that the model knows.
fn described(name: &str, field: &Field) -> Field {
    match name.strip_prefix("mag_") {
        Some(band) => photoz::mag("", band).describe(field),
        None => {
            let description = format!("{name} that the model gives for the galaxy");
            let facts = Metadata::from_iter([("description", description.as_str())]);
            field.clone().with_name(name).with_metadata(facts)
        }
    }
}

/// Whether a row withdraws its object.
fn deleted(rows: &RecordBatch) -> (FieldRef, Source) {
    let flags = column(rows, "z_flags");
    let flags = flags.as_primitive::<Int32Type>().values().iter();
    let deleted: BooleanArray = flags.map(|flags| Some(flags & DELETED != 0)).collect();
    let description = "whether the row withdraws its object";
    let field = Field::new("deleted", DataType::Boolean, false)
        .with_metadata(Metadata::from_iter([("description", description)]));
    (Arc::new(field), Source::Own(Arc::new(deleted) as ArrayRef))
}
