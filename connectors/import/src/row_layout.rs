//! The axes of one row of an array, to copy the row to C order.

/// The axes of a row, in bytes.
pub(crate) struct RowLayout {
    element_bytes: usize,
    sides: Vec<usize>,
    strides: Vec<usize>,
    /// The first axis from which on the elements have no gaps.
    packed_from: usize,
}

impl RowLayout {
    /// The layout of a row with these sides and strides; strides are in bytes.
    pub(crate) fn new(element_bytes: usize, sides: &[u64], strides: &[u64]) -> Self {
        let as_usize = |values: &[u64]| values.iter().map(|&value| value as usize).collect();
        let (sides, strides): (Vec<usize>, Vec<usize>) = (as_usize(sides), as_usize(strides));
        let mut packed_from = sides.len();
        let mut step = element_bytes;
        while packed_from > 0 && strides[packed_from - 1] == step {
            packed_from -= 1;
            step *= sides[packed_from];
        }
        Self {
            element_bytes,
            sides,
            strides,
            packed_from,
        }
    }

    /// Appends the row whose first element is at `at` of `bytes`.
    pub(crate) fn copy(&self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        self.copy_axis(0, bytes, at, out);
    }

    fn copy_axis(&self, axis: usize, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        if axis == self.packed_from {
            let len = self.element_bytes * self.sides[axis..].iter().product::<usize>();
            out.extend_from_slice(&bytes[at..at + len]);
            return;
        }
        let places = (0..self.sides[axis]).map(|i| at + i * self.strides[axis]);
        if axis + 1 == self.sides.len() && self.element_bytes == 4 {
            // Bands on the last axis: the common case, and the slow case.
            places.for_each(|at| out.extend_from_slice(&bytes[at..at + 4]));
        } else {
            places.for_each(|at| self.copy_axis(axis + 1, bytes, at, out));
        }
    }
}
