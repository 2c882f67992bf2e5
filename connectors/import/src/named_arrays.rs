//! The named arrays of a file.

use std::ops::Range;

use crate::array::ArrayView;
use crate::error::ImportError;
use crate::zip::Member;

/// Upper bound on the bytes of the rows that are read together, with the gaps between them. A single row may be larger.
const ROWS_BYTES_MAX: u64 = 128 << 20;
/// Upper bound on the number of arrays of a file. The same array may have several names.
pub(crate) const FIELDS_MAX: usize = 4096;
/// Upper bound on the length of a name, exclusive.
const NAME_BYTES_MAX: usize = 4096;

/// The arrays of one file, and the members that hold them.
#[derive(Default)]
pub(crate) struct NamedArrays {
    pub(crate) members: Vec<Member>,
    pub(crate) fields: Vec<(String, ArrayView)>,
    /// The names of arrays of Python objects, which are not read.
    pub(crate) objects: Vec<String>,
}

impl NamedArrays {
    /// Adds an array. The error says why it is refused.
    pub(crate) fn add(&mut self, name: String, array: ArrayView) -> Result<(), String> {
        add_field(&mut self.fields, name, array)
    }

    /// The number of rows of these fields that may be read together, at least one.
    pub(crate) fn rows_together(&self, fields: &[usize]) -> u64 {
        let mut gaps = vec![0; self.members.len()];
        let mut bytes = 0_u64;
        for array in fields.iter().map(|&field| &self.fields[field].1) {
            bytes = bytes.saturating_add(array.row_bytes().unwrap_or(u64::MAX));
            let stride = array.strides.first().copied().unwrap_or(0);
            gaps[array.member] = stride.max(gaps[array.member]);
        }
        let gaps = gaps.into_iter().fold(0, u64::saturating_add);
        (ROWS_BYTES_MAX / bytes.saturating_add(gaps).max(1)).max(1)
    }

    /// The rows of a field, as [`ArrayView::read`] returns them.
    pub(crate) fn read(&mut self, field: usize, rows: Range<u64>) -> Result<Vec<u8>, ImportError> {
        let array = &self.fields[field].1;
        array.read(&mut self.members[array.member], rows)
    }
}

/// Adds a named array. The error says that the name is too long or that there are too many arrays.
pub(crate) fn add_field(
    fields: &mut Vec<(String, ArrayView)>,
    name: String,
    array: ArrayView,
) -> Result<(), String> {
    check_name(&name)?;
    if fields.len() >= FIELDS_MAX {
        return Err(format!("it has more than {FIELDS_MAX} arrays"));
    }
    fields.push((name, array));
    Ok(())
}

/// Checks the length of a name. The error says that the name is too long.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name.len() {
        0..NAME_BYTES_MAX => Ok(()),
        bytes => Err(format!(
            "the name of an array has {bytes} bytes, which is too long"
        )),
    }
}
