//! The files of predicted and withdrawn rows: `photoz/` and `embeddings/`. Both have the same rows in the same order.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    compute::{lexsort_to_indices, take_record_batch},
    datatypes::{FieldRef, Float64Type, UInt32Type},
    error::ArrowError,
};

use super::{
    columns::{PLACE, Source, Z_QUANTILES, ascending, column, named, with_columns},
    door::Folder,
    embeddings,
    encoded::{EncodedFile, PartLabel},
    files::FileWriter,
    long_columns::LongColumns,
    model_column::Z_PHOT,
    photoz::{self, PhotozColumn},
};
use crate::sky;

/// The predicted and withdrawn rows of a part, sorted.
pub(super) struct PredictedRows(RecordBatch);

impl PredictedRows {
    /// Adds the columns that this program makes, and sorts the rows.
    pub fn new(rows: &RecordBatch, label: &PartLabel) -> Result<Self, ArrowError> {
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
        let short_id: String = label.model_id.chars().take(12).collect();
        let rows = with_columns(
            rows,
            vec![
                named("_healpix_29", Arc::new(cells), true),
                named("model_id", text(&short_id), false),
                named("drop", text(&label.drop), false),
            ],
        )?;
        let order = lexsort_to_indices(&ascending(&rows, &["_healpix_29", "object_id"]), None)?;
        Ok(Self(take_record_batch(&rows, &order)?))
    }

    /// Encodes the files of the rows: one for redshifts and one for embeddings, if the model gives them.
    pub fn files(
        &self,
        long: &LongColumns,
        label: &PartLabel,
    ) -> Result<Vec<EncodedFile>, ArrowError> {
        let mut files = Vec::new();
        if self.0.column_by_name(Z_PHOT).is_some() {
            let mut columns = Vec::new();
            for column in photoz::columns(label.reference_band.as_deref()) {
                columns.extend(self.photoz(column, long)?);
            }
            let kept = long.of_catalog();
            columns.extend(kept.map(|(place, field)| (field.clone(), Source::Long(place))));
            files.push(self.file(Folder::Photoz, columns, long, label)?);
        }
        if long.of_embeddings().next().is_some() {
            let columns = embeddings::columns(&self.0, long)?;
            files.push(self.file(Folder::Embeddings, columns, long, label)?);
        }
        Ok(files)
    }

    /// A column of `photoz/`, if there is one. Quantiles are among the `long` columns.
    fn photoz(
        &self,
        column: PhotozColumn,
        long: &LongColumns,
    ) -> Result<Option<(FieldRef, Source)>, ArrowError> {
        if column.in_pieces != Z_QUANTILES {
            return column.of(&self.0).map(Some);
        }
        let quantiles = long.of_quantiles();
        Ok(quantiles.map(|(place, field)| (Arc::new(column.describe(field)), Source::Long(place))))
    }

    fn file(
        &self,
        folder: Folder,
        columns: Vec<(FieldRef, Source)>,
        long: &LongColumns,
        label: &PartLabel,
    ) -> Result<EncodedFile, ArrowError> {
        let (fields, sources): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let places = column(&self.0, PLACE);
        let places = places.as_primitive::<UInt32Type>().values();
        let mut writer = FileWriter::new(folder, fields, label)?;
        writer.write(&sources, long, places)?;
        writer.finish(folder, self.0.num_rows(), label)
    }
}
