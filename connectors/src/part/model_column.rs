//! The columns of a model's outputs, on their way to the files.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array},
    buffer::NullBuffer,
    datatypes::{DataType, Field, Metadata},
    error::ArrowError,
};
use half::f16;

use super::{
    columns::{Column, OF_EMBEDDINGS, Z_QUANTILES, named},
    door::Door,
    flags::BELOW_ZERO,
    interval::{INTERVAL_BOUNDS, quantile_at},
    reject_reason::RejectReason,
};

/// The name of the column of photo-z.
pub(super) const Z_PHOT: &str = "z_phot";
/// The name of the column of embeddings, which are long. They are stored in half precision, which is enough.
pub(super) const EMBEDDING: &str = "embedding";

/// The key of the levels of quantiles in the metadata of the field of [`Z_QUANTILES`]: a JSON array.
pub const QUANTILE_LEVELS: &str = "levels";

/// An output of a model for the rows of a chunk. Redshifts and their quantiles go to `photoz/`, other lists go to
/// `embeddings/`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelColumn {
    name: &'static str,
    kind: Kind,
    /// The number of values of a row.
    width: usize,
    values: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A number a row.
    Number,
    /// A list a row, for `embeddings/`.
    List,
    /// The quantiles of the redshift at these levels, which ascend.
    Quantiles { levels: Vec<f64>, is_stored: bool },
}

impl ModelColumn {
    /// A column of one number for each of `rows` rows. No row is predicted yet.
    pub fn of_numbers(name: &'static str, rows: usize) -> Self {
        Self::new(name, Kind::Number, 1, rows)
    }

    /// A column of a list of `width` numbers for each of `rows` rows. No row is predicted yet.
    pub fn of_lists(name: &'static str, width: usize, rows: usize) -> Self {
        Self::new(name, Kind::List, width, rows)
    }

    /// The quantiles of the redshift at `levels`, which ascend, for each of `rows` rows. No row is predicted yet. The bounds
    /// of intervals come from the quantiles, also if the list `is_stored` not.
    pub fn of_quantiles(levels: &[f64], is_stored: bool, rows: usize) -> Self {
        let width = levels.len();
        let levels = levels.to_vec();
        Self::new(
            Z_QUANTILES,
            Kind::Quantiles { levels, is_stored },
            width,
            rows,
        )
    }

    fn new(name: &'static str, kind: Kind, width: usize, rows: usize) -> Self {
        Self {
            name,
            kind,
            width,
            values: vec![f32::NAN; rows * width],
        }
    }

    /// The name of the column in the files.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the column goes to `embeddings/`.
    pub(super) fn is_embedding(&self) -> bool {
        self.kind == Kind::List
    }

    /// Whether the column has the quantiles of the redshift.
    pub(super) fn is_quantiles(&self) -> bool {
        matches!(self.kind, Kind::Quantiles { .. })
    }

    /// Takes the values of some rows: those of the first of `rows`, then those of the second, and so on.
    pub fn set(&mut self, rows: &[usize], values: &[f32]) {
        for (&row, values) in rows.iter().zip(values.chunks_exact(self.width)) {
            self.values[row * self.width..][..self.width].copy_from_slice(values);
        }
    }

    /// The values of a row.
    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    fn is_half(&self) -> bool {
        self.name == EMBEDDING
    }

    /// Why the values of a row cannot be stored: one is NaN, infinite, or too large for the type of the column, or quantiles
    /// do not ascend.
    pub(super) fn fault_of(&self, row: usize) -> Option<RejectReason> {
        let values = self.row(row);
        let cannot_be_stored = |value: &&f32| match self.is_half() {
            true => !f16::from_f32(**value).is_finite(),
            false => !value.is_finite(),
        };
        if let Some(&value) = values.iter().find(cannot_be_stored) {
            let column = self.name;
            return Some(match column {
                Z_PHOT => RejectReason::PredictionNotFinite { z_phot: value },
                _ => RejectReason::ValueNotStored { column, value },
            });
        }
        let Kind::Quantiles { levels, .. } = &self.kind else {
            return None;
        };
        let pairs = values.windows(2).zip(levels.windows(2));
        let mut falls = pairs.filter(|(values, _)| values[1] < values[0]);
        let (values, levels) = falls.next()?;
        Some(RejectReason::QuantilesNotAscending {
            quantiles: [values[0], values[1]],
            levels: [levels[0], levels[1]],
        })
    }

    /// The flags of a row that come from its prediction.
    pub(super) fn flags_of(&self, row: usize) -> i32 {
        let is_below_zero = self.name == Z_PHOT && self.row(row)[0] < 0.0;
        if is_below_zero { BELOW_ZERO } else { 0 }
    }

    /// The columns of some rows in a piece; null where `is_there` is false.
    ///
    /// # Errors
    /// If a list has more than 2^31 values.
    pub(super) fn columns(
        &self,
        rows: &[u32],
        is_there: &[bool],
    ) -> Result<Vec<Column>, ArrowError> {
        match &self.kind {
            Kind::Number => Ok(vec![named(self.name, self.numbers(rows, is_there)?, true)]),
            Kind::List => {
                let name = format!("{OF_EMBEDDINGS}{}", self.name);
                Ok(vec![named(&name, self.lists(rows, is_there)?, true)])
            }
            Kind::Quantiles { levels, is_stored } => {
                let mut columns = self.bounds(levels, rows, is_there);
                if *is_stored {
                    let (field, lists) = named(self.name, self.lists(rows, is_there)?, true);
                    let levels = serde_json::Value::from(levels.as_slice()).to_string();
                    let facts = Metadata::from_iter([(QUANTILE_LEVELS, levels)]);
                    let field = field.as_ref().clone().with_metadata(facts);
                    columns.push((Arc::new(field), lists));
                }
                Ok(columns)
            }
        }
    }

    fn numbers(&self, rows: &[u32], is_there: &[bool]) -> Result<ArrayRef, ArrowError> {
        let nulls = Some(NullBuffer::from(is_there.to_vec()));
        let values = rows.iter().map(|&row| self.row(row as usize)[0]);
        let values = values.collect::<Vec<f32>>();
        Ok(Arc::new(Float32Array::try_new(values.into(), nulls)?))
    }

    fn lists(&self, rows: &[u32], is_there: &[bool]) -> Result<ArrayRef, ArrowError> {
        let nulls = Some(NullBuffer::from(is_there.to_vec()));
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).copied();
        let values: ArrayRef = match self.is_half() {
            true => Arc::new(Float16Array::from_iter_values(values.map(f16::from_f32))),
            false => Arc::new(Float32Array::from_iter_values(values)),
        };
        let width = i32::try_from(self.width);
        let width = width.map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
        let lists = FixedSizeListArray::try_new(self.item(), width, values, nulls)?;
        Ok(Arc::new(lists))
    }

    /// The columns of the bounds of intervals.
    fn bounds(&self, levels: &[f64], rows: &[u32], is_there: &[bool]) -> Vec<Column> {
        let bound = |(name, level)| {
            let rows = rows.iter().zip(is_there);
            let values = rows.map(|(&row, &is_there)| {
                let quantiles = is_there.then(|| self.row(row as usize))?;
                quantile_at(level, levels, quantiles)
            });
            let values: Float32Array = values.collect();
            named(name, Arc::new(values), true)
        };
        INTERVAL_BOUNDS.map(bound).into()
    }

    /// The field of a list's values.
    fn item(&self) -> Arc<Field> {
        let data_type = match self.is_half() {
            true => DataType::Float16,
            false => DataType::Float32,
        };
        Arc::new(Field::new_list_field(data_type, false))
    }
}

impl Door {
    /// The door of a row after the model has answered. A row is predicted only if all values that the model gave for it
    /// can be stored: they are finite, and not too large for the half precision of embeddings. Quantiles must ascend.
    /// ```
    /// use hubbleflow_connectors::part::{Door, ModelColumn};
    ///
    /// let mut z_phot = ModelColumn::of_numbers("z_phot", 2);
    /// z_phot.set(&[0, 1], &[0.1, f32::INFINITY]);
    /// let mut embedding = ModelColumn::of_lists("embedding", 3, 2);
    /// embedding.set(&[0, 1], &[0.0, 1.0, 1e9, 0.0, 1.0, 2.0]);
    /// let after = |door: Door, row| door.after_prediction(row, &[z_phot.clone()]);
    /// assert_eq!(after(Door::Predicted, 0), Door::Predicted);
    /// assert_eq!(after(Door::Predicted, 1), Door::Rejected("the model predicts inf".to_owned()));
    /// assert_eq!(after(Door::Withdrawn, 1), Door::Withdrawn);
    /// let reason = "the model gives a value of 1000000000 in embedding, which cannot be stored";
    /// assert_eq!(Door::Predicted.after_prediction(0, &[embedding]), Door::Rejected(reason.to_owned()));
    /// let mut quantiles = ModelColumn::of_quantiles(&[0.16, 0.84], true, 2);
    /// quantiles.set(&[0, 1], &[0.1, 0.1, 0.3, 0.2]);
    /// assert_eq!(Door::Predicted.after_prediction(0, &[quantiles.clone()]), Door::Predicted);
    /// let reason = "the model gives quantiles that do not ascend: 0.3 at level 0.16 and 0.2 at level 0.84";
    /// assert_eq!(Door::Predicted.after_prediction(1, &[quantiles]), Door::Rejected(reason.to_owned()));
    /// ```
    pub fn after_prediction(self, row: usize, columns: &[ModelColumn]) -> Self {
        if self != Self::Predicted {
            return self;
        }
        let mut faults = columns.iter().filter_map(|column| column.fault_of(row));
        faults.next().map_or(self, Self::from)
    }
}

/// The columns of the bounds of intervals for rows of a model that gives no quantiles: all null.
pub(super) fn no_bounds(rows: usize) -> impl Iterator<Item = Column> {
    let nulls = move |(name, _)| named(name, Arc::new(Float32Array::new_null(rows)), true);
    INTERVAL_BOUNDS.into_iter().map(nulls)
}
