//! Writes the quantiles of an export as an ensemble of qp, the library for distributions of redshifts of Rubin's pipelines.
//!
//! | file | rows | columns |
//! |---|---|---|
//! | `PREFIXdata.pq` | one an object | `locs`: the quantiles, a list of float64 |
//! | `PREFIXancil.pq` | one an object | `object_id` `zmode` `zmean` `zmedian` |
//! | `PREFIXmeta.pq` | one | `pdf_name` `quant`, `quants`: the levels, and how qp makes a density of them |
//!
//! The meta file is written last: with it the ensemble is complete. `qp.read("PREFIX.pq")` opens the three files.
use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray,
        RecordBatch,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, Float32Type, Schema, SchemaRef},
    error::ArrowError,
};
use connectors::{
    Error as StoreError, Location, Output,
    drop_writer::{PartWriter, WriteError},
    part::{QUANTILE_LEVELS, Z_QUANTILES},
};
use object_store::{Error as ObjectError, ObjectStoreExt};

use super::{parts::properties, source::Source};
use crate::{Error, OutputError, SettingsError, StoreOptions};

/// The places of the three files.
pub(super) struct QpPlaces {
    data: Location,
    ancil: Location,
    meta: Location,
}

impl QpPlaces {
    /// Makes sure that the files do not exist, and that they do not lie in a folder that is read as something else.
    pub async fn open(
        prefix: &str,
        folders: [&Location; 2],
        options: &StoreOptions,
    ) -> Result<Self, Error> {
        let qp = prefix.to_owned();
        if qp.is_empty() || qp.ends_with('/') {
            return Err(SettingsError::QpPrefix { qp }.into());
        }
        let open = |name| Location::open(&format!("{prefix}{name}.pq"), options);
        let (data, ancil, meta) = (open("data")?, open("ancil")?, open("meta")?);
        for file in [&data, &ancil, &meta] {
            if let Some(folder) = folders.iter().find(|folder| folder.overlaps(file)) {
                let folder = folder.url.clone();
                return Err(SettingsError::QpInFolder { qp, folder }.into());
            }
            match file.store.head(&file.prefix).await {
                Err(ObjectError::NotFound { .. }) => {}
                Err(source) => return Err(StoreError::store(&file.url, source).into()),
                Ok(_) => {
                    let file = file.url.clone();
                    return Err(SettingsError::QpExists { file }.into());
                }
            }
        }
        Ok(Self { data, ancil, meta })
    }
}

/// Writes an ensemble, some rows at a time.
pub(super) struct QpWriter {
    levels: Vec<f64>,
    meta: Location,
    data: QpFile,
    ancil: QpFile,
}

impl QpWriter {
    /// Begins an ensemble of the rows of these files, which must have quantiles at the same levels.
    pub async fn begin(places: QpPlaces, output: &Output, files: &[Source]) -> Result<Self, Error> {
        let levels = common_levels(output, files)?;
        let id = files.first().map_or(DataType::Int64, |file| {
            let id = file.schema.field_with_name("object_id");
            id.map_or(DataType::Int64, |id| id.data_type().clone())
        });
        let estimates = ["zmode", "zmean", "zmedian"];
        let estimates = estimates.map(|name| Field::new(name, DataType::Float64, false));
        let ancil = [Field::new("object_id", id, false)].into_iter();
        let ancil = Schema::new(ancil.chain(estimates).collect::<Vec<_>>());
        let data = Schema::new(vec![list_field("locs")]);
        Ok(Self {
            levels,
            data: QpFile::begin(places.data, data.into()).await?,
            ancil: QpFile::begin(places.ancil, ancil.into()).await?,
            meta: places.meta,
        })
    }

    /// Adds the distributions of rows.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let columns = self.columns(rows);
        let (locs, ancil) = columns.map_err(|error| self.data.failed(error.into()))?;
        self.data.write(vec![locs]).await?;
        self.ancil.write(ancil).await
    }

    fn columns(&self, rows: &RecordBatch) -> Result<(ArrayRef, Vec<ArrayRef>), ArrowError> {
        let width = self.levels.len();
        let lists = rows[Z_QUANTILES].as_fixed_size_list_opt();
        let lists = lists.filter(|lists| lists.null_count() == 0);
        let quantiles = lists.and_then(|lists| lists.values().as_primitive_opt::<Float32Type>());
        let quantiles = quantiles.filter(|values| values.len() == rows.num_rows() * width);
        let wrong = || format!("{Z_QUANTILES} has no list of {width} numbers in each row");
        let quantiles = quantiles.ok_or_else(|| ArrowError::SchemaError(wrong()))?;
        let quantiles: Vec<f64> = quantiles.values().iter().map(|&z| z.into()).collect();
        let mut estimates = [(); 3].map(|()| Vec::with_capacity(rows.num_rows()));
        for quantiles in quantiles.chunks_exact(width) {
            let points = extended(&self.levels, quantiles);
            let mode = mode(&self.levels, quantiles);
            let values = [mode, mean(&points), median(&points)];
            for (column, value) in estimates.iter_mut().zip(values) {
                column.push(value);
            }
        }
        let id = cast(&rows["object_id"], self.ancil.schema.field(0).data_type())?;
        let estimates = estimates.map(|values| Arc::new(Float64Array::from(values)) as ArrayRef);
        Ok((
            lists_of(width, quantiles)?,
            [id].into_iter().chain(estimates).collect(),
        ))
    }

    /// Ends the files.
    pub async fn finish(self) -> Result<(), Error> {
        self.data.finish().await?;
        self.ancil.finish().await?;
        let failed = |error: ArrowError| not_encoded(&self.meta, error.into());
        let name = |text: &str| Arc::new(BinaryArray::from_vec(vec![text.as_bytes()])) as ArrayRef;
        let levels = lists_of(self.levels.len(), self.levels.clone()).map_err(failed)?;
        let schema = Schema::new(vec![
            Field::new("pdf_name", DataType::Binary, false),
            Field::new("pdf_version", DataType::Int64, false),
            list_field("quants"),
            Field::new("pdf_constructor_name", DataType::Binary, false),
            // qp adds the ends of the distribution itself, at the levels 0 and 1.
            Field::new("ensure_extent", DataType::Boolean, false),
        ]);
        let columns = vec![
            name("quant"),
            Arc::new(Int64Array::from(vec![0])),
            levels,
            name("piecewise_linear"),
            Arc::new(BooleanArray::from(vec![true])),
        ];
        let mut meta = QpFile::begin(self.meta, schema.into()).await?;
        meta.write(columns).await?;
        meta.finish().await
    }
}

/// The levels of the quantiles of all files.
fn common_levels(output: &Output, files: &[Source]) -> Result<Vec<f64>, OutputError> {
    let mut common: Option<(Vec<f64>, &Source)> = None;
    let url = |source: &Source| output.location().url_of(&source.file.path);
    for source in files {
        let levels = levels_of(&source.schema);
        // A distribution has two points at least.
        let levels = levels.filter(|levels| levels.len() > 1);
        let levels = levels.ok_or_else(|| OutputError::NoQuantiles { file: url(source) })?;
        match &common {
            None => common = Some((levels, source)),
            Some((known, _)) if *known == levels => {}
            Some((known, other)) => {
                return Err(OutputError::OtherLevels {
                    files: [url(other), url(source)],
                    levels: [known.clone(), levels],
                });
            }
        }
    }
    Ok(common.map_or_else(Vec::new, |(levels, _)| levels))
}

fn levels_of(schema: &SchemaRef) -> Option<Vec<f64>> {
    let field = schema.field_with_name(Z_QUANTILES).ok()?;
    serde_json::from_str(field.metadata().get(QUANTILE_LEVELS)?).ok()
}

fn list_field(name: &str) -> Field {
    Field::new(name, DataType::List(item()), false)
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float64, false))
}

/// Lists of `width` numbers.
fn lists_of(width: usize, values: Vec<f64>) -> Result<ArrayRef, ArrowError> {
    let lists = values.len().checked_div(width).unwrap_or(0);
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, lists));
    let values = Arc::new(Float64Array::from(values));
    Ok(Arc::new(ListArray::try_new(item(), offsets, values, None)?))
}

/// Quantiles as points (level, redshift) from level 0 to level 1. The ends lie on the straight lines through the two points
/// next to them, as qp has it.
fn extended(levels: &[f64], quantiles: &[f64]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = levels
        .iter()
        .copied()
        .zip(quantiles.iter().copied())
        .collect();
    let on_line = |level: f64, (l0, z0): (f64, f64), (l1, z1): (f64, f64)| {
        (level, z0 + (level - l0) * (z1 - z0) / (l1 - l0))
    };
    if points[0].0 > f64::EPSILON {
        points.insert(0, on_line(0.0, points[0], points[1]));
    }
    let last = points.len() - 1;
    if points[last].0 < 1.0 {
        points.push(on_line(1.0, points[last - 1], points[last]));
    }
    points
}

/// The middle of the two neighbouring quantiles between which the density is highest.
fn mode(levels: &[f64], quantiles: &[f64]) -> f64 {
    let (mut highest, mut mode) = (f64::NEG_INFINITY, f64::NAN);
    for (level, z) in levels.windows(2).zip(quantiles.windows(2)) {
        let density = (level[1] - level[0]) / (z[1] - z[0]);
        if density > highest {
            (highest, mode) = (density, f64::midpoint(z[0], z[1]));
        }
    }
    mode
}

fn mean(points: &[(f64, f64)]) -> f64 {
    let parts = points.windows(2);
    parts
        .map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1))
        .sum()
}

/// The redshift at level 0.5.
fn median(points: &[(f64, f64)]) -> f64 {
    let above = points.partition_point(|&(level, _)| level < 0.5);
    let ((l0, z0), (l1, z1)) = (points[above - 1], points[above]);
    z0 + (0.5 - l0) * (z1 - z0) / (l1 - l0)
}

/// An open file.
struct QpFile {
    place: Location,
    schema: SchemaRef,
    /// `None` after a failure.
    part: Option<PartWriter>,
}

impl QpFile {
    async fn begin(place: Location, schema: SchemaRef) -> Result<Self, Error> {
        let properties = properties(None);
        let part =
            PartWriter::with_properties(&place.store, &place.prefix, schema.clone(), properties);
        let part = part.await.map_err(|error| not_encoded(&place, error))?;
        Ok(Self {
            place,
            schema,
            part: Some(part),
        })
    }

    async fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), Error> {
        let rows = RecordBatch::try_new(self.schema.clone(), columns);
        let rows = rows.map_err(|error| self.failed(error.into()))?;
        if let Some(part) = self.part.take() {
            let part = part.append(rows).await;
            self.part = Some(part.map_err(|error| self.failed(error))?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        if let Some(part) = self.part.take() {
            part.finish().await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, error: WriteError) -> Error {
        not_encoded(&self.place, error)
    }
}

fn not_encoded(place: &Location, error: WriteError) -> Error {
    let file = place.url.clone();
    match error {
        WriteError::Store(source) => StoreError::store(file, source).into(),
        source => OutputError::NotEncoded { file, source }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_those_of_the_extended_distribution() {
        let points = extended(&[0.1, 0.5, 0.9], &[0.1, 0.2, 0.6]);
        assert_eq!(points.len(), 5);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        near(points[0].1, 0.075);
        near(points[4].1, 0.7);
        near(median(&points), 0.2);
        near(
            mean(&points),
            0.1 * 0.0875 + 0.4 * 0.15 + 0.4 * 0.4 + 0.1 * 0.65,
        );
        near(mode(&[0.1, 0.5, 0.9], &[0.1, 0.2, 0.6]), 0.15);
        // Levels without 0.5, and two quantiles of one value, where the density is highest.
        let (levels, quantiles) = ([0.0, 0.4, 0.6, 1.0], [0.0, 0.3, 0.3, 1.0]);
        let median = median(&extended(&levels, &quantiles));
        assert_eq!((mode(&levels, &quantiles), median), (0.3, 0.3));
    }
}
