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

/// The columns of a file, in their order: where a galaxy is, what the model made of it, and what a catalog has beside.
pub(super) fn columns(
    rows: &RecordBatch,
    long: &LongColumns,
) -> Result<Vec<(FieldRef, Source)>, ArrowError> {
    let own = |name: &str| {
        let known = photoz::columns(None).into_iter();
        let mut known = known.filter(|column| column.in_pieces == name);
        known.next().map(|column| column.of(rows)).transpose()
    };
    let owns = |names: &[&str]| {
        let columns = names.iter().filter_map(|name| own(name).transpose());
        columns.collect::<Result<Vec<_>, _>>()
    };
    let mut columns = owns(&["object_id", "ra", "dec", "_healpix_29"])?;
    columns.extend(
        long.of_embeddings()
            .map(|(place, name, field)| (Arc::new(described(name, field)), Source::Long(place))),
    );
    columns.extend(owns(&["z_spec"])?);
    columns.push(deleted(rows));
    columns.extend(owns(&["model_id", "drop"])?);
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
