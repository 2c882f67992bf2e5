//! The columns of a model's outputs, on their way to the files.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array},
    buffer::NullBuffer,
    datatypes::{DataType, Field},
    error::ArrowError,
};
use half::f16;

/// The name of the column of photo-z.
pub(super) const Z_PHOT: &str = "z_phot";
/// The name of the column of embeddings, which are long. They are stored in half precision, which is enough.
pub(super) const EMBEDDING: &str = "embedding";

/// An output of a model for the rows of a chunk. `z_phot` goes to `photoz/`, lists go to `embeddings/`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelColumn {
    name: &'static str,
    /// The number of values of a row.
    width: usize,
    is_list: bool,
    values: Vec<f32>,
}

impl ModelColumn {
    /// A column of one number for each of `rows` rows. No row is predicted yet.
    pub fn of_numbers(name: &'static str, rows: usize) -> Self {
        Self {
            name,
            width: 1,
            is_list: false,
            values: vec![f32::NAN; rows],
        }
    }

    /// A column of a list of `width` numbers for each of `rows` rows. No row is predicted yet.
    pub fn of_lists(name: &'static str, width: usize, rows: usize) -> Self {
        Self {
            name,
            width,
            is_list: true,
            values: vec![f32::NAN; rows * width],
        }
    }

    /// The name of the column in the files.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the column holds lists.
    pub(super) fn is_list(&self) -> bool {
        self.is_list
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

    /// The first value of a row that cannot be stored: NaN, infinite, or too large for the type of the column.
    pub(super) fn fault_of(&self, row: usize) -> Option<f32> {
        let mut values = self.row(row).iter().copied();
        values.find(|&value| match self.is_half() {
            true => !f16::from_f32(value).is_finite(),
            false => !value.is_finite(),
        })
    }

    /// The values of some rows as an array; null where `is_there` is false.
    ///
    /// # Errors
    /// If a list has more than 2^31 values.
    pub(super) fn array(&self, rows: &[u32], is_there: &[bool]) -> Result<ArrayRef, ArrowError> {
        let nulls = Some(NullBuffer::from(is_there.to_vec()));
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).copied();
        if !self.is_list {
            let values = values.collect::<Vec<f32>>();
            return Ok(Arc::new(Float32Array::try_new(values.into(), nulls)?));
        }
        let values: ArrayRef = match self.is_half() {
            true => Arc::new(Float16Array::from_iter_values(values.map(f16::from_f32))),
            false => Arc::new(Float32Array::from_iter_values(values)),
        };
        let width = i32::try_from(self.width);
        let width = width.map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
        let lists = FixedSizeListArray::try_new(self.item(), width, values, nulls)?;
        Ok(Arc::new(lists))
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
