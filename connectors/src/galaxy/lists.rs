//! Reads all list types of Arrow as ranges of elements.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float32Type};

#[cfg(target_endian = "big")]
compile_error!(
    "pixels are taken from Arrow's buffers as little-endian bytes: big-endian machines need a conversion here"
);

/// One level of lists.
///
/// The elements of entry `i + 1` begin where the elements of entry `i` end. So a run of whole entries is one run of elements
/// at each depth, and a nested cutout can be read from one buffer.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    starts: Starts,
    nulls: Option<NullBuffer>,
}

#[derive(Clone, Debug)]
enum Starts {
    Fixed { length: usize },
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
}

impl Lists {
    /// The outermost lists of `array` and their elements, or `None` if it is not an array of lists.
    pub(super) fn open(array: &dyn Array) -> Option<(Lists, ArrayRef)> {
        let (starts, elements) = match array.data_type() {
            DataType::FixedSizeList(_, length) => {
                let length = usize::try_from(*length).ok()?;
                (
                    Starts::Fixed { length },
                    array.as_fixed_size_list().values(),
                )
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                (Starts::Small(lists.offsets().clone()), lists.values())
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                (Starts::Large(lists.offsets().clone()), lists.values())
            }
            _ => return None,
        };
        Some((
            Lists {
                starts,
                nulls: array.nulls().cloned(),
            },
            elements.clone(),
        ))
    }

    /// The same lists, which are also null where `nulls` is null.
    pub(super) fn and_nulls(self, nulls: Option<&NullBuffer>) -> Lists {
        let nulls = NullBuffer::union(self.nulls.as_ref(), nulls);
        Lists { nulls, ..self }
    }

    /// The range of the elements of `entry`, or `None` if the entry is null.
    pub(super) fn elements(&self, entry: usize) -> Option<Range<usize>> {
        if self
            .nulls
            .as_ref()
            .is_some_and(|nulls| nulls.is_null(entry))
        {
            return None;
        }
        Some(self.start(entry)..self.start(entry + 1))
    }

    /// The number of elements of each entry, if the type fixes it.
    pub(super) fn fixed_length(&self) -> Option<usize> {
        match self.starts {
            Starts::Fixed { length } => Some(length),
            Starts::Small(_) | Starts::Large(_) => None,
        }
    }

    fn start(&self, entry: usize) -> usize {
        // Offsets in Arrow are never negative, so the casts lose nothing.
        match &self.starts {
            Starts::Fixed { length } => entry * length,
            Starts::Small(offsets) => offsets[entry] as usize,
            Starts::Large(offsets) => offsets[entry] as usize,
        }
    }
}

/// The elements of the innermost lists: pixels in float32, as bytes.
#[derive(Clone, Debug)]
pub(super) struct Pixels {
    bytes: Buffer,
    nulls: Option<NullBuffer>,
}

impl Pixels {
    /// Shares the pixels of an array of float32, or returns `None` for other types.
    pub(super) fn open(array: &dyn Array) -> Option<Pixels> {
        let array = array.as_primitive_opt::<Float32Type>()?;
        Some(Pixels {
            bytes: array.values().inner().clone(),
            nulls: array.nulls().cloned(),
        })
    }

    /// The bytes of the pixels in `range`, or `None` if a pixel is null.
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        let has_null = |nulls: &NullBuffer| nulls.slice(range.start, range.len()).null_count() > 0;
        if self.nulls.as_ref().is_some_and(has_null) {
            return None;
        }
        Some(&self.bytes.as_slice()[4 * range.start..4 * range.end])
    }
}
