//! Element types of arrays, and elements as numbers or text.
//!
//! | kind | bytes | read as |
//! |---|---|---|
//! | float | 2, 4, 8 | numbers |
//! | bfloat | 2 | numbers |
//! | int, uint | 1, 2, 4, 8 | numbers, whole numbers |
//! | bool | 1 | not read |
//! | ASCII, Unicode | any, a multiple of 4 | text |

use std::fmt;

use half::{bf16, f16};

/// The kind of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementKind {
    Float,
    BFloat,
    Int,
    Uint,
    Bool,
    /// ASCII text, padded with zeros.
    Ascii,
    /// Code points of four bytes, padded with zeros.
    Unicode,
}

/// The kind of an element, its size and its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dtype {
    pub(crate) kind: ElementKind,
    pub(crate) bytes: usize,
    pub(crate) big_endian: bool,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = 8 * self.bytes;
        match self.kind {
            ElementKind::Float => write!(f, "float{bits}"),
            ElementKind::BFloat => write!(f, "bfloat{bits}"),
            ElementKind::Int => write!(f, "int{bits}"),
            ElementKind::Uint => write!(f, "uint{bits}"),
            ElementKind::Bool => f.write_str("bool"),
            ElementKind::Ascii | ElementKind::Unicode => f.write_str("text"),
        }
    }
}

impl Dtype {
    /// The numbers in `bytes` as float64, or `None` if the type is not numeric.
    fn numbers<'a>(self, bytes: &'a [u8]) -> Option<Box<dyn Iterator<Item = f64> + 'a>> {
        macro_rules! of {
            ($number:ty, $widen:expr) => {
                Box::new(bytes.chunks_exact(size_of::<$number>()).map(move |chunk| {
                    let array = chunk
                        .try_into()
                        .expect("invariant: a chunk is as long as the number");
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
            (ElementKind::Float, 2) => of!(f16, f64::from),
            (ElementKind::Float, 4) => of!(f32, f64::from),
            (ElementKind::Float, 8) => of!(f64, |number| number),
            (ElementKind::BFloat, 2) => of!(bf16, f64::from),
            (ElementKind::Int, 1) => of!(i8, f64::from),
            (ElementKind::Int, 2) => of!(i16, f64::from),
            (ElementKind::Int, 4) => of!(i32, f64::from),
            (ElementKind::Int, 8) => of!(i64, |number| number as f64),
            (ElementKind::Uint, 1) => of!(u8, f64::from),
            (ElementKind::Uint, 2) => of!(u16, f64::from),
            (ElementKind::Uint, 4) => of!(u32, f64::from),
            (ElementKind::Uint, 8) => of!(u64, |number| number as f64),
            _ => return None,
        })
    }

    pub(crate) fn is_number(self) -> bool {
        self.numbers(&[]).is_some()
    }

    pub(crate) fn is_whole(self) -> bool {
        matches!(self.kind, ElementKind::Int | ElementKind::Uint)
            && matches!(self.bytes, 1 | 2 | 4 | 8)
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self.kind, ElementKind::Ascii | ElementKind::Unicode)
    }

    /// The numbers in `bytes` as float32, or `None` if the type is not numeric. float32 keeps its bits.
    pub(crate) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        if self.kind == ElementKind::Float && self.bytes == 4 {
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

    /// The numbers in `bytes` as float64, or `None` if the type is not numeric.
    pub(crate) fn to_f64(self, bytes: &[u8]) -> Option<Vec<f64>> {
        Some(self.numbers(bytes)?.collect())
    }

    /// The whole numbers in `bytes`, or `None` for other types. An i128 holds every int64 and uint64.
    pub(crate) fn to_whole(self, bytes: &[u8]) -> Option<Vec<i128>> {
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
                ElementKind::Int => i128::from(((bits << unused) as i64) >> unused),
                _ => i128::from(bits),
            }
        };
        Some(bytes.chunks_exact(self.bytes).map(whole).collect())
    }

    /// The texts in `bytes` without padding, or `None` if the type is not text or a character is invalid.
    pub(crate) fn to_text(self, bytes: &[u8]) -> Option<Vec<String>> {
        let chunks = bytes.chunks_exact(self.bytes.max(1));
        let text = |chunk: &[u8]| match self.kind {
            ElementKind::Ascii => Some(std::str::from_utf8(chunk).ok()?.to_owned()),
            ElementKind::Unicode => chunk
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
