//! Embeddings of galaxies, which another model has computed.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float16Array, Float32Array};
use arrow::datatypes::{DataType, Float16Type, Float32Type};

use super::SchemaError;
use super::convert::refusal;
use super::lists::Lists;

/// The embeddings of a batch, one for each row. They are not copied out of Arrow's memory.
#[derive(Clone, Debug)]
pub struct Embeddings {
    rows: Lists,
    values: Values,
    width: usize,
}

#[derive(Clone, Debug)]
enum Values {
    Half(Float16Array),
    Single(Float32Array),
}

/// The reason why a row has no embedding that a model can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingFault {
    /// The row has none.
    #[error("embedding is null")]
    Null,
    /// It is of another length.
    #[error("embedding has {found} values, not {width}")]
    Width {
        /// The number of its values.
        found: usize,
        /// The number of values that the model takes.
        width: usize,
    },
    /// A value is null, NaN or infinite.
    #[error("embedding has a value that is not finite")]
    NotFinite,
}

impl Embeddings {
    /// Takes the embeddings in `array`: lists of `width` float16 or float32.
    ///
    /// # Errors
    /// If the type cannot hold such embeddings. This depends only on the type, so it can be checked with an empty array.
    pub(super) fn open(
        column: &str,
        array: &ArrayRef,
        width: usize,
    ) -> Result<Embeddings, SchemaError> {
        let expected = format!("a list of {width} float16 or float32");
        let refused = || refusal(column, array, &expected);
        let (rows, elements) = Lists::open(array).ok_or_else(refused)?;
        if rows.fixed_length().is_some_and(|length| length != width) {
            return Err(refused());
        }
        let values = match elements.data_type() {
            DataType::Float16 => Values::Half(elements.as_primitive::<Float16Type>().clone()),
            DataType::Float32 => Values::Single(elements.as_primitive::<Float32Type>().clone()),
            _ => return Err(refused()),
        };
        Ok(Embeddings {
            rows,
            values,
            width,
        })
    }

    /// Checks the embedding of a row.
    ///
    /// # Errors
    /// [`EmbeddingFault`] names the fault.
    pub fn check(&self, row: usize) -> Result<(), EmbeddingFault> {
        let values = self.rows.elements(row).ok_or(EmbeddingFault::Null)?;
        if values.len() != self.width {
            let (found, width) = (values.len(), self.width);
            return Err(EmbeddingFault::Width { found, width });
        }
        match self.are_finite(values) {
            true => Ok(()),
            false => Err(EmbeddingFault::NotFinite),
        }
    }

    fn are_finite(&self, mut values: Range<usize>) -> bool {
        values.all(|place| match &self.values {
            Values::Half(array) => array.is_valid(place) && array.value(place).is_finite(),
            Values::Single(array) => array.is_valid(place) && array.value(place).is_finite(),
        })
    }

    /// Copies the embedding of a row to `to`.
    ///
    /// # Panics
    /// If the row has none, or `to` has another length.
    pub fn copy_into(&self, row: usize, to: &mut [f32]) {
        let values = self.rows.elements(row);
        let values = values.expect("invariant: rows without an embedding were rejected");
        match &self.values {
            Values::Half(array) => {
                for (to, value) in to.iter_mut().zip(&array.values()[values]) {
                    *to = value.to_f32();
                }
            }
            Values::Single(array) => to.copy_from_slice(&array.values()[values]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{FixedSizeListBuilder, Float32Builder, ListBuilder};
    use arrow::compute::cast;
    use arrow::datatypes::Field;

    use super::*;

    /// Lists of 2 values, of 3 values, of NaN, of a null, and no list.
    fn lists() -> ArrayRef {
        let mut lists = ListBuilder::new(Float32Builder::new());
        for row in [
            Some(vec![Some(0.5), Some(-2.0)]),
            Some(vec![Some(1.0); 3]),
            Some(vec![Some(1.0), Some(f32::NAN)]),
            Some(vec![None, Some(1.0)]),
            None,
        ] {
            lists.append_option(row);
        }
        Arc::new(lists.finish())
    }

    #[test]
    fn each_fault_of_a_row_is_named() {
        let half = DataType::List(Arc::new(Field::new_list_field(DataType::Float16, true)));
        for array in [lists(), cast(&lists(), &half).unwrap()] {
            let embeddings = Embeddings::open("embedding", &array, 2).unwrap();
            let mut values = [0.0; 2];
            embeddings.copy_into(0, &mut values);
            assert_eq!(values, [0.5, -2.0]);
            let faults: Vec<_> = (0..5).map(|row| embeddings.check(row)).collect();
            let width = EmbeddingFault::Width { found: 3, width: 2 };
            let not_finite = || Err(EmbeddingFault::NotFinite);
            let null = Err(EmbeddingFault::Null);
            let expected = [Ok(()), Err(width), not_finite(), not_finite(), null];
            assert_eq!(faults, expected);
        }
    }

    #[test]
    fn a_type_that_cannot_hold_embeddings_is_refused() {
        let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), 3);
        fixed.values().append_slice(&[1.0; 3]);
        fixed.append(true);
        let fixed: ArrayRef = Arc::new(fixed.finish());
        assert!(Embeddings::open("embedding", &fixed, 3).is_ok());
        let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        for array in [&fixed, &numbers] {
            let error = Embeddings::open("e", array, 2).unwrap_err().to_string();
            assert!(error.contains("column `e` is"), "{error}");
            assert!(error.ends_with("a list of 2 float16 or float32"), "{error}");
        }
    }
}
