//! Lists as ranges: where the elements of a row lie, whichever of Arrow's list types holds them.

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
/// The elements of entry `i + 1` begin where those of entry `i` end, so a run of whole entries
/// is one run of elements, at every depth: this is what lets a nested cutout be read in one piece.
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
    /// The outermost lists of `array`, and their elements; `None` where it is no array of lists.
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

    /// The same lists, null also where `nulls` is.
    pub(super) fn and_nulls(self, nulls: Option<&NullBuffer>) -> Lists {
        let nulls = NullBuffer::union(self.nulls.as_ref(), nulls);
        Lists { nulls, ..self }
    }

    /// Where the elements of `entry` lie; `None` where it is null.
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

    /// How many elements every entry has, where the type itself says so.
    pub(super) fn fixed_length(&self) -> Option<usize> {
        match self.starts {
            Starts::Fixed { length } => Some(length),
            Starts::Small(_) | Starts::Large(_) => None,
        }
    }

    fn start(&self, entry: usize) -> usize {
        // Arrow's offsets are never negative: the casts lose nothing.
        match &self.starts {
            Starts::Fixed { length } => entry * length,
            Starts::Small(offsets) => offsets[entry] as usize,
            Starts::Large(offsets) => offsets[entry] as usize,
        }
    }
}

/// The elements at the bottom of the lists: pixels, float32, as bytes.
#[derive(Clone, Debug)]
pub(super) struct Pixels {
    bytes: Buffer,
    nulls: Option<NullBuffer>,
}

impl Pixels {
    /// The pixels of an array of float32, whose memory they share; `None` where it is another type.
    pub(super) fn open(array: &dyn Array) -> Option<Pixels> {
        let array = array.as_primitive_opt::<Float32Type>()?;
        Some(Pixels {
            bytes: array.values().inner().clone(),
            nulls: array.nulls().cloned(),
        })
    }

    /// The bytes of the pixels in `range`; `None` where one of them is null.
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        let has_null = |nulls: &NullBuffer| nulls.slice(range.start, range.len()).null_count() > 0;
        if self.nulls.as_ref().is_some_and(has_null) {
            return None;
        }
        Some(&self.bytes.as_slice()[4 * range.start..4 * range.end])
    }
}
