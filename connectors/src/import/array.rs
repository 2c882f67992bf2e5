//! Arrays of numbers or text in a file, read by rows.
//!
//! An array is a view: a member's bytes, the first element's place, a shape and strides. Transposed and shared tensors,
//! Fortran order, fields of records and axes in another order are all views; [`Array::read`] lays rows out as
//! `[row, …]`, the last axis fastest.

use std::fmt;
use std::ops::Range;

use half::{bf16, f16};

use super::{ImportError, zip::Member};

/// The most that one row may take: five bands of 1,448 pixels a side. It is held ten times over on its way.
const ROW_BYTES_MAX: u64 = 40 << 20;
/// The most that rows which are read together take, with what lies between them; a single row may take more.
const ROWS_BYTES_MAX: u64 = 128 << 20;
/// A file has fewer arrays than this. One array may stand under any number of names.
pub(super) const FIELDS_MAX: usize = 4096;
/// Arrays have no more sides than this: PyTorch's and numpy's.
pub(super) const SIDES_MAX: usize = 64;
/// Names are shorter than this.
const NAME_BYTES_MAX: usize = 4096;
/// The most that is held of a deflated array whose rows do not follow one another.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    BFloat,
    Int,
    Uint,
    Bool,
    /// Bytes of ASCII, zeros at the end.
    Ascii,
    /// Code points of four bytes, zeros at the end.
    Unicode,
}

/// An element's kind, its bytes and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dtype {
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    pub(super) big_endian: bool,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = 8 * self.bytes;
        match self.kind {
            Kind::Float => write!(f, "float{bits}"),
            Kind::BFloat => write!(f, "bfloat{bits}"),
            Kind::Int => write!(f, "int{bits}"),
            Kind::Uint => write!(f, "uint{bits}"),
            Kind::Bool => f.write_str("bool"),
            Kind::Ascii | Kind::Unicode => f.write_str("text"),
        }
    }
}

impl Dtype {
    /// The numbers of `bytes` as float64; text has none.
    fn numbers<'a>(self, bytes: &'a [u8]) -> Option<Box<dyn Iterator<Item = f64> + 'a>> {
        macro_rules! of {
            ($number:ty, $widen:expr) => {
                Box::new(bytes.chunks_exact(size_of::<$number>()).map(move |chunk| {
                    let array = chunk.try_into().expect("chunks are as long as the number");
                    let number = if self.big_endian {
                        <$number>::from_be_bytes(array)
                    } else {
                        <$number>::from_le_bytes(array)
                    };
                    $widen(number)
                }))
            };
        }
        Some(match (self.kind, self.bytes) {
            (Kind::Float, 2) => of!(f16, f64::from),
            (Kind::Float, 4) => of!(f32, f64::from),
            (Kind::Float, 8) => of!(f64, |number| number),
            (Kind::BFloat, 2) => of!(bf16, f64::from),
            (Kind::Int, 1) => of!(i8, f64::from),
            (Kind::Int, 2) => of!(i16, f64::from),
            (Kind::Int, 4) => of!(i32, f64::from),
            (Kind::Int, 8) => of!(i64, |number| number as f64),
            (Kind::Uint, 1) => of!(u8, f64::from),
            (Kind::Uint, 2) => of!(u16, f64::from),
            (Kind::Uint, 4) => of!(u32, f64::from),
            (Kind::Uint, 8) => of!(u64, |number| number as f64),
            _ => return None,
        })
    }

    pub(super) fn is_number(self) -> bool {
        self.numbers(&[]).is_some()
    }

    pub(super) fn is_whole(self) -> bool {
        matches!(self.kind, Kind::Int | Kind::Uint) && matches!(self.bytes, 1 | 2 | 4 | 8)
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self.kind, Kind::Ascii | Kind::Unicode)
    }

    /// Numbers as float32; float32 keeps its bits.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        if self.kind == Kind::Float && self.bytes == 4 {
            let chunks = bytes
                .chunks_exact(4)
                .map(|chunk| [chunk[0], chunk[1], chunk[2], chunk[3]]);
            return Some(if self.big_endian {
                chunks.map(f32::from_be_bytes).collect()
            } else {
                chunks.map(f32::from_le_bytes).collect()
            });
        }
        Some(self.numbers(bytes)?.map(|number| number as f32).collect())
    }

    pub(super) fn to_f64(self, bytes: &[u8]) -> Option<Vec<f64>> {
        Some(self.numbers(bytes)?.collect())
    }

    /// Whole numbers, none of which is lost in an i128.
    pub(super) fn to_whole(self, bytes: &[u8]) -> Option<Vec<i128>> {
        if !self.is_whole() {
            return None;
        }
        let whole = |chunk: &[u8]| {
            let ordered = |i: usize| {
                if self.big_endian {
                    chunk[i]
                } else {
                    chunk[chunk.len() - 1 - i]
                }
            };
            let bits = (0..chunk.len()).fold(0u64, |bits, i| bits << 8 | u64::from(ordered(i)));
            let unused = 64 - 8 * chunk.len() as u32;
            match self.kind {
                Kind::Int => i128::from(((bits << unused) as i64) >> unused),
                _ => i128::from(bits),
            }
        };
        Some(bytes.chunks_exact(self.bytes).map(whole).collect())
    }

    /// Text without the zeros at its end; `None` where it is none, or not of its alphabet.
    pub(super) fn to_text(self, bytes: &[u8]) -> Option<Vec<String>> {
        let chunks = bytes.chunks_exact(self.bytes.max(1));
        let text = |chunk: &[u8]| match self.kind {
            Kind::Ascii => Some(std::str::from_utf8(chunk).ok()?.to_owned()),
            Kind::Unicode => chunk
                .chunks_exact(4)
                .map(|four| {
                    let four = [four[0], four[1], four[2], four[3]];
                    char::from_u32(if self.big_endian {
                        u32::from_be_bytes(four)
                    } else {
                        u32::from_le_bytes(four)
                    })
                })
                .collect(),
            _ => None,
        };
        chunks
            .map(|chunk| text(chunk).map(|text| text.trim_end_matches('\0').to_owned()))
            .collect()
    }
}

/// A view of a member's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array {
    /// Which member of the table.
    pub(super) member: usize,
    pub(super) dtype: Dtype,
    /// Where the first record begins, and where in a record the first element is, in bytes.
    pub(super) start: u64,
    pub(super) within: u64,
    /// The first axis is that of the rows.
    pub(super) shape: Vec<u64>,
    /// In bytes.
    pub(super) strides: Vec<u64>,
}

impl Array {
    pub(super) fn rows(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Bytes from the first element of a row to behind its last one.
    fn row_span(&self) -> Option<u64> {
        let mut steps = self.shape.iter().zip(&self.strides).skip(1);
        steps.try_fold(self.dtype.bytes as u64, |span, (side, stride)| {
            span.checked_add(side.saturating_sub(1).checked_mul(*stride)?)
        })
    }

    fn row_bytes(&self) -> Option<u64> {
        let mut sides = self.shape.iter().skip(1);
        sides.try_fold(self.dtype.bytes as u64, |bytes, side| {
            bytes.checked_mul(*side)
        })
    }

    /// Says what is wrong with the view on a member of `size` bytes: all that is read later lies within it.
    pub(super) fn check(&self, size: u64) -> Result<(), String> {
        let end = || {
            let last = self
                .rows()
                .saturating_sub(1)
                .checked_mul(*self.strides.first()?)?;
            let first = self.start.checked_add(self.within)?;
            first.checked_add(last)?.checked_add(self.row_span()?)
        };
        if self.shape.is_empty() || self.shape.len() != self.strides.len() {
            return Err("it is a single number, not rows".to_owned());
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
            return Err("all its rows are one and the same (an expanded tensor)".to_owned());
        }
        match end() {
            Some(end) if end <= size => Ok(()),
            _ => Err(format!(
                "shape {:?} does not fit into its {size} bytes",
                self.shape
            )),
        }
    }

    /// The elements of some rows, one after the other.
    pub(super) fn read(
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
            // Whole records, so that the fields of a record ask for the same range.
            let at = self.start + rows.start * stride;
            let needed = self.within + span;
            let end = (at + (count - 1) * stride + needed.max(stride)).min(member.size());
            let bytes = member.read(at..end)?;
            let view = View::of(self);
            for row in 0..count {
                view.copy(bytes, (row * stride + self.within) as usize, &mut out);
            }
            return Ok(out);
        }
        // Rows are interleaved.
        let whole = first..first + (self.rows() - 1) * stride + span;
        if member.is_stored() && self.strides[1..].iter().all(|&other| other >= stride) {
            self.read_columns(member, rows, &mut out)?;
        } else if whole.end - whole.start <= WHOLE_BYTES_MAX {
            let bytes = member.read(whole)?;
            let view = View::of(self);
            for row in rows {
                view.copy(bytes, (row * stride) as usize, &mut out);
            }
        } else {
            let reason = format!(
                "the rows of {} do not lie one after the other; save it in C order (numpy.ascontiguousarray, \
                 tensor.contiguous())",
                member.name()
            );
            return Err(ImportError::unsupported(member.path(), reason));
        }
        Ok(out)
    }

    /// Rows that are the fastest axis (Fortran order): for each place in a row, the elements of all rows.
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

/// The axes of a row.
struct View {
    size: usize,
    sides: Vec<usize>,
    strides: Vec<usize>,
    /// The axes from this one on have no gaps.
    packed_from: usize,
}

impl View {
    fn of(array: &Array) -> Self {
        let sides: Vec<usize> = array.shape[1..].iter().map(|&side| side as usize).collect();
        let strides: Vec<usize> = array.strides[1..]
            .iter()
            .map(|&stride| stride as usize)
            .collect();
        let size = array.dtype.bytes;
        let mut packed_from = sides.len();
        let mut step = size;
        while packed_from > 0 && strides[packed_from - 1] == step {
            packed_from -= 1;
            step *= sides[packed_from];
        }
        Self {
            size,
            sides,
            strides,
            packed_from,
        }
    }

    fn copy(&self, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        self.copy_axis(0, bytes, at, out);
    }

    fn copy_axis(&self, axis: usize, bytes: &[u8], at: usize, out: &mut Vec<u8>) {
        if axis == self.packed_from {
            let len = self.size * self.sides[axis..].iter().product::<usize>();
            out.extend_from_slice(&bytes[at..at + len]);
            return;
        }
        let places = (0..self.sides[axis]).map(|i| at + i * self.strides[axis]);
        if axis + 1 == self.sides.len() && self.size == 4 {
            // Bands that stand last: the common case, and the slow one.
            places.for_each(|at| out.extend_from_slice(&bytes[at..at + 4]));
        } else {
            places.for_each(|at| self.copy_axis(axis + 1, bytes, at, out));
        }
    }
}

/// Named arrays of one file, and the members that they lie in.
#[derive(Default)]
pub(super) struct Table {
    pub(super) members: Vec<Member>,
    pub(super) fields: Vec<(String, Array)>,
    /// Arrays of Python objects, which are not read.
    pub(super) objects: Vec<String>,
}

impl Table {
    /// Adds an array.
    pub(super) fn add(&mut self, name: String, array: Array) -> Result<(), String> {
        add_field(&mut self.fields, name, array)
    }

    /// How many rows of these fields may be read together, at least one.
    pub(super) fn rows_together(&self, fields: &[usize]) -> u64 {
        let mut between = vec![0; self.members.len()];
        let mut bytes = 0_u64;
        for array in fields.iter().map(|&field| &self.fields[field].1) {
            bytes = bytes.saturating_add(array.row_bytes().unwrap_or(u64::MAX));
            let stride = array.strides.first().copied().unwrap_or(0);
            between[array.member] = stride.max(between[array.member]);
        }
        let between = between.into_iter().fold(0, u64::saturating_add);
        (ROWS_BYTES_MAX / bytes.saturating_add(between).max(1)).max(1)
    }

    /// Rows of a field, as [`Array::read`] has them.
    pub(super) fn read(&mut self, field: usize, rows: Range<u64>) -> Result<Vec<u8>, ImportError> {
        let array = &self.fields[field].1;
        array.read(&mut self.members[array.member], rows)
    }
}

/// Adds a named array, where there are not too many.
pub(super) fn add_field(
    fields: &mut Vec<(String, Array)>,
    name: String,
    array: Array,
) -> Result<(), String> {
    check_name(&name)?;
    if fields.len() >= FIELDS_MAX {
        return Err(format!("it has more than {FIELDS_MAX} arrays"));
    }
    fields.push((name, array));
    Ok(())
}

/// Says that a name is too long to be one.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.len() {
        0..NAME_BYTES_MAX => Ok(()),
        bytes => Err(format!("the name of an array has {bytes} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const F32: Dtype = Dtype {
        kind: Kind::Float,
        bytes: 4,
        big_endian: false,
    };

    /// A member whose float32 number `i` is `i`.
    fn counted(len: u64) -> (tempfile::NamedTempFile, Member) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for i in 0..len {
            file.write_all(&(i as f32).to_le_bytes()).unwrap();
        }
        let member = Member::whole(file.path());
        (file, member)
    }

    /// Where the elements of some rows lie, by the definition of strides.
    fn places(array: &Array, rows: Range<u64>) -> Vec<f32> {
        let mut places: Vec<u64> = rows.map(|row| row * array.strides[0]).collect();
        for (side, stride) in array.shape.iter().zip(&array.strides).skip(1) {
            let along = |at: u64| (0..*side).map(move |i| at + i * stride);
            places = places.into_iter().flat_map(along).collect();
        }
        let first = array.start + array.within;
        places.iter().map(|at| ((first + at) / 4) as f32).collect()
    }

    proptest! {
        #[test]
        fn any_view_gives_the_elements_that_its_strides_name(
            sides in proptest::collection::vec(1u64..6, 1..5),
            order in any::<proptest::sample::Index>(),
            (gap, start, within) in (1u64..3, 0u64..4, 0u64..2),
            (from, to) in (0u64..6, 0u64..6),
        ) {
            // Axes in another order: transposed tensors, bands that stand last, Fortran order; and gaps.
            let mut axes: Vec<usize> = (0..sides.len()).collect();
            axes.rotate_left(order.index(sides.len()));
            let (mut strides, mut step) = (vec![0; sides.len()], 4 * gap);
            for &axis in &axes {
                strides[axis] = step;
                step *= sides[axis];
            }
            let array = Array {
                member: 0,
                dtype: F32,
                start: 4 * start,
                within: 4 * within.min(gap - 1),
                shape: sides.clone(),
                strides,
            };
            let (_file, mut member) = counted(step / 4 + start + gap);
            prop_assert_eq!(array.check(member.size()), Ok(()));
            let (from, to) = (from.min(sides[0]), to.min(sides[0]));
            let rows = from.min(to)..from.max(to);
            let read = F32.to_f32(&array.read(&mut member, rows.clone()).unwrap()).unwrap();
            prop_assert_eq!(read, places(&array, rows));
        }

        #[test]
        fn a_view_that_is_accepted_lies_within_its_member(
            shape in proptest::collection::vec(0u64..9, 1..4),
            strides in proptest::collection::vec(prop_oneof![0u64..64, any::<u64>()], 3),
            (start, within) in (prop_oneof![0u64..99, any::<u64>()], 0u64..9),
        ) {
            let strides = strides[..shape.len()].to_vec();
            let array = Array { member: 0, dtype: F32, start, within, shape, strides };
            let (_file, mut member) = counted(50);
            if array.check(member.size()).is_ok() {
                let rows = array.rows();
                let read = array.read(&mut member, 0..rows).unwrap();
                prop_assert_eq!(read.len() as u64, 4 * array.shape.iter().product::<u64>());
            }
        }

        #[test]
        fn numbers_of_either_byte_order_are_the_same(number in any::<i64>(), bytes in prop::sample::select(vec![1usize, 2, 4, 8])) {
            let number = number >> (64 - 8 * bytes);
            let mut stored = number.to_le_bytes()[..bytes].to_vec();
            let mut dtype = Dtype { kind: Kind::Int, bytes, big_endian: false };
            prop_assert_eq!(dtype.to_whole(&stored), Some(vec![i128::from(number)]));
            stored.reverse();
            dtype.big_endian = true;
            prop_assert_eq!(dtype.to_whole(&stored), Some(vec![i128::from(number)]));
            prop_assert_eq!(dtype.to_f64(&stored), Some(vec![number as f64]));
        }
    }
}
