//! A view of the bytes of an archive member as an array, read by rows.
//!
//! A view is an offset, a shape and strides. Transposed and shared tensors, Fortran order, fields of records and
//! permuted axes are all views. [`ArrayView::read`] copies rows to `[row, …]`, C order.

use std::ops::Range;

use crate::dtype::Dtype;
use crate::error::ImportError;
use crate::row_layout::RowLayout;
use crate::zip::Member;

/// Upper bound on the size of a row: five bands of 1,448 pixels a side. The import holds about ten copies of a row.
const ROW_BYTES_MAX: u64 = 40 << 20;
/// Upper bound on the number of axes, from PyTorch and numpy.
pub(crate) const AXES_MAX: usize = 64;
/// Upper bound on the bytes that are held of a deflated array with interleaved rows.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// A view of the bytes of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayView {
    /// The index of the member in [`NamedArrays`](crate::named_arrays::NamedArrays).
    pub(crate) member: usize,
    pub(crate) dtype: Dtype,
    /// The offset of the first record in the member, in bytes.
    pub(crate) start: u64,
    /// The offset of the first element in its record, in bytes.
    pub(crate) within: u64,
    /// The length of each axis. The first axis counts the rows.
    pub(crate) shape: Vec<u64>,
    /// The step along each axis, in bytes.
    pub(crate) strides: Vec<u64>,
}

impl ArrayView {
    pub(crate) fn rows(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The bytes from the first element of a row to the end of its last element.
    fn row_span(&self) -> Option<u64> {
        let mut steps = self.shape.iter().zip(&self.strides).skip(1);
        steps.try_fold(self.dtype.bytes as u64, |span, (side, stride)| {
            span.checked_add(side.saturating_sub(1).checked_mul(*stride)?)
        })
    }

    /// The bytes of the elements of a row.
    pub(crate) fn row_bytes(&self) -> Option<u64> {
        let mut sides = self.shape.iter().skip(1);
        sides.try_fold(self.dtype.bytes as u64, |bytes, side| {
            bytes.checked_mul(*side)
        })
    }

    /// Checks that every row lies within a member of `size` bytes. The error says what is wrong.
    pub(crate) fn check(&self, size: u64) -> Result<(), String> {
        let end = || {
            let last = self
                .rows()
                .saturating_sub(1)
                .checked_mul(*self.strides.first()?)?;
            let first = self.start.checked_add(self.within)?;
            first.checked_add(last)?.checked_add(self.row_span()?)
        };
        if self.shape.is_empty() || self.shape.len() != self.strides.len() {
            return Err("it is a single number, not an array of rows".to_owned());
        }
        if self.shape.contains(&0) {
            return Ok(());
        }
        if self.row_bytes().is_none_or(|bytes| bytes > ROW_BYTES_MAX) {
            return Err(format!(
                "a row of shape {:?} is too large",
                &self.shape[1..]
            ));
        }
        if self.rows() > 1 && self.strides[0] == 0 {
            return Err("all its rows share the same bytes (an expanded tensor); save a copy (tensor.contiguous())".to_owned());
        }
        match end() {
            Some(end) if end <= size => Ok(()),
            _ => Err(format!(
                "shape {:?} does not fit into its {size} bytes",
                self.shape
            )),
        }
    }

    fn row_layout(&self) -> RowLayout {
        RowLayout::new(self.dtype.bytes, &self.shape[1..], &self.strides[1..])
    }

    /// The elements of `rows`, in C order.
    pub(crate) fn read(
        &self,
        member: &mut Member,
        rows: Range<u64>,
    ) -> Result<Vec<u8>, ImportError> {
        let count = rows.end - rows.start;
        let row_bytes = self.row_bytes().unwrap_or(0);
        let mut out = Vec::with_capacity((count * row_bytes) as usize);
        if count == 0 || row_bytes == 0 {
            return Ok(out);
        }
        let stride = self.strides[0];
        let (first, span) = (self.start + self.within, self.row_span().unwrap_or(0));
        if self.within + span <= stride || count == 1 {
            // Reads whole records, so that all fields of a record request the same range.
            let at = self.start + rows.start * stride;
            let needed = self.within + span;
            let end = (at + (count - 1) * stride + needed.max(stride)).min(member.size());
            let bytes = member.read(at..end)?;
            let view = self.row_layout();
            for row in 0..count {
                view.copy(bytes, (row * stride + self.within) as usize, &mut out);
            }
            return Ok(out);
        }
        // The rows are interleaved.
        let whole = first..first + (self.rows() - 1) * stride + span;
        if member.is_stored() && self.strides[1..].iter().all(|&other| other >= stride) {
            self.read_columns(member, rows, &mut out)?;
        } else if whole.end - whole.start <= WHOLE_BYTES_MAX {
            let bytes = member.read(whole)?;
            let view = self.row_layout();
            for row in rows {
                view.copy(bytes, (row * stride) as usize, &mut out);
            }
        } else {
            let reason = format!(
                "the rows of {} are not stored one after the other; save the array in C order (numpy.ascontiguousarray, \
                 tensor.contiguous())",
                member.name()
            );
            return Err(ImportError::unsupported(member.path(), reason));
        }
        Ok(out)
    }

    /// Reads an array whose rows are the fastest axis (Fortran order): for each element of a row, all rows at once.
    fn read_columns(
        &self,
        member: &mut Member,
        rows: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), ImportError> {
        let count = (rows.end - rows.start) as usize;
        let size = self.dtype.bytes;
        let (row_bytes, stride) = (self.row_bytes().unwrap_or(0) as usize, self.strides[0]);
        out.resize(count * row_bytes, 0);
        for place in 0..row_bytes / size {
            let mut rest = place as u64;
            let mut at = self.start + self.within + rows.start * stride;
            for (side, step) in self.shape.iter().zip(&self.strides).skip(1).rev() {
                at += rest % side * step;
                rest /= side;
            }
            let bytes = member.read(at..at + (count as u64 - 1) * stride + size as u64)?;
            for row in 0..count {
                let from = row * stride as usize;
                let to = row * row_bytes + place * size;
                out[to..to + size].copy_from_slice(&bytes[from..from + size]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
