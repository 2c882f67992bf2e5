//! Checks the shapes and types of the fields of an image file.

use super::ImageFile;
use crate::error::ImportError;
use crate::finder::MagFields;

impl ImageFile {
    /// Checks the shapes and types of the fields, and that they lie within the file.
    pub(super) fn check(&self) -> Result<(), ImportError> {
        let numbers = self.number_fields();
        for (field, row_shape) in &numbers {
            self.check_numbers(*field, row_shape.as_deref())?;
        }
        if let Some(field) = self.object_id {
            self.check_ids(field)?;
        }
        let fields = numbers.iter().map(|(field, _)| *field);
        for field in fields.chain(self.object_id) {
            self.check_extent(field)?;
        }
        Ok(())
    }

    /// The fields of numbers, with the shape that a row must have if there is only one.
    fn number_fields(&self) -> Vec<(usize, Option<Vec<u64>>)> {
        let mut fields = vec![(self.cutout, None)];
        match &self.mags {
            Some(MagFields::Together(field)) => {
                fields.push((*field, Some(vec![self.bands.len() as u64])))
            }
            Some(MagFields::Each(each)) => {
                fields.extend(each.iter().map(|field| (*field, Some(vec![]))));
            }
            None => {}
        }
        let position = self.position.into_iter().flatten();
        fields.extend(position.map(|field| (field, Some(vec![]))));
        if let Some(field) = self.z_spec {
            let (_, array) = &self.arrays.fields[field];
            let is_column = array.shape.get(1..).unwrap_or_default() == [1];
            fields.push((field, Some(if is_column { vec![1] } else { vec![] })));
        }
        fields
    }

    fn check_numbers(&self, field: usize, row_shape: Option<&[u64]>) -> Result<(), ImportError> {
        let (name, array) = &self.arrays.fields[field];
        if !array.dtype.is_number() {
            return Err(self.refuse(format!("`{name}` is of {}, not of numbers", array.dtype)));
        }
        if let Some(row_shape) = row_shape
            && array.shape.get(1..) != Some(row_shape)
        {
            let expected: Vec<_> = [self.rows].iter().chain(row_shape).copied().collect();
            return Err(self.refuse(format!(
                "`{name}` is of shape {:?}, not {expected:?}",
                array.shape
            )));
        }
        Ok(())
    }

    fn check_ids(&self, field: usize) -> Result<(), ImportError> {
        let (name, array) = &self.arrays.fields[field];
        if !array.dtype.is_whole() && !array.dtype.is_text() {
            return Err(self.refuse(format!(
                "`{name}` is of {}: object ids are whole numbers or text, never floats, which lose digits; name another \
                 field with --column object_id=FIELD, or number the rows with --column object_id= --first-id 0",
                array.dtype
            )));
        }
        if array.shape.len() != 1 {
            return Err(self.refuse(format!(
                "`{name}` is of shape {:?}, not one id for each row",
                array.shape
            )));
        }
        Ok(())
    }

    /// Checks that a field has as many rows as the cutouts, all within its member.
    fn check_extent(&self, field: usize) -> Result<(), ImportError> {
        let (name, array) = &self.arrays.fields[field];
        if array.rows() != self.rows {
            return Err(self.refuse(format!(
                "`{name}` has {} rows, and the cutouts have {}",
                array.rows(),
                self.rows
            )));
        }
        array
            .check(self.arrays.members[array.member].size())
            .map_err(|reason| ImportError::corrupt(&self.file, format!("`{name}`: {reason}")))
    }

    fn refuse(&self, reason: String) -> ImportError {
        ImportError::columns(&self.file, reason)
    }
}
