//! The header of a `.npy` member, and the arrays that it describes.

use super::literal::{Literal, LiteralParser, RECORD_DEPTH_MAX};
use crate::array::{AXES_MAX, ArrayView};
use crate::dtype::{Dtype, ElementKind};
use crate::named_arrays::add_field;

/// The header of a `.npy` member.
#[derive(Debug, PartialEq)]
pub(super) struct NpyHeader {
    pub(super) element: Element,
    /// The size of an element.
    bytes: u64,
    is_fortran: bool,
    shape: Vec<u64>,
    /// The offset of the elements in the member.
    start: u64,
}

/// The type of an element.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element {
    Plain(Dtype),
    /// The fields of a record: name, offset in the record, type and shape.
    Record(Vec<(String, u64, Element, Vec<u64>)>),
    /// Padding, dates and other types that are not read.
    Other,
    /// Python objects: the array is a pickle.
    Objects,
}

impl Element {
    /// Whether the element, or a field of it, is a Python object.
    pub(super) fn has_objects(&self) -> bool {
        match self {
            Self::Objects => true,
            Self::Record(fields) => fields.iter().any(|field| field.2.has_objects()),
            Self::Plain(_) | Self::Other => false,
        }
    }
}

impl NpyHeader {
    /// Reads the text of a header. The elements begin at `start` of the member.
    pub(super) fn parse(text: &str, start: u64) -> Result<Self, String> {
        let mut parser = LiteralParser::new(text);
        let Literal::Dict(entries) = parser.literal(0)? else {
            return Err("its header is not a dict".to_owned());
        };
        let get = |key: &str| {
            let entry = entries.iter().find(|(name, _)| name == key);
            entry
                .map(|(_, value)| value)
                .ok_or_else(|| format!("its header has no {key}"))
        };
        let (element, bytes) = element(get("descr")?, 0)?;
        let is_fortran = match get("fortran_order")? {
            Literal::Bool(fortran) => *fortran,
            _ => return Err("its fortran_order is not a bool".to_owned()),
        };
        Ok(Self {
            element,
            bytes,
            is_fortran,
            shape: shape(get("shape")?)?,
            start,
        })
    }

    /// Adds the arrays of numbers and text that the member holds.
    pub(super) fn fields(
        &self,
        name: &str,
        member: usize,
        into: &mut Vec<(String, ArrayView)>,
    ) -> Result<(), String> {
        let mut strides = vec![0; self.shape.len()];
        let mut step = self.bytes;
        let mut set = |(stride, side): (&mut u64, &u64)| {
            *stride = step;
            // No file has an offset above 64 bits. The view is checked before it is used.
            step = step.saturating_mul((*side).max(1));
        };
        let axes = strides.iter_mut().zip(&self.shape);
        if self.is_fortran {
            axes.for_each(&mut set);
        } else {
            axes.rev().for_each(&mut set);
        }
        let outer = OuterArray {
            member,
            start: self.start,
            shape: self.shape.clone(),
            strides,
        };
        outer.fields(name, 0, &self.element, self.bytes, &[], into)
    }
}

/// The axes of the array whose elements have the fields.
struct OuterArray {
    member: usize,
    start: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

impl OuterArray {
    /// Adds the arrays of one field. `inner` is the shape of the field in its record, `bytes` the size of its elements.
    fn fields(
        &self,
        name: &str,
        within: u64,
        element: &Element,
        bytes: u64,
        inner: &[u64],
        into: &mut Vec<(String, ArrayView)>,
    ) -> Result<(), String> {
        match element {
            Element::Other | Element::Objects => {}
            Element::Plain(dtype) => {
                let (mut shape, mut strides) = (self.shape.clone(), self.strides.clone());
                for (axis, side) in inner.iter().enumerate() {
                    let faster = inner[axis + 1..].iter();
                    shape.push(*side);
                    strides.push(faster.fold(bytes, |step, side| step.saturating_mul(*side)));
                }
                let array = ArrayView {
                    member: self.member,
                    dtype: *dtype,
                    start: self.start,
                    within,
                    shape,
                    strides,
                };
                add_field(into, name.to_owned(), array)?;
            }
            // Records within records are read. Arrays of records within records are not.
            Element::Record(fields) if inner.is_empty() => {
                for (field, offset, element, shape) in fields {
                    let bytes = match element {
                        Element::Plain(dtype) => dtype.bytes as u64,
                        _ => 0,
                    };
                    let (name, within) =
                        (format!("{name}.{field}"), within.saturating_add(*offset));
                    self.fields(&name, within, element, bytes, shape, into)?;
                }
            }
            Element::Record(_) => {}
        }
        Ok(())
    }
}

/// Reads a `descr`, which is a type code or a list of fields. Returns the element and its size.
fn element(descr: &Literal, depth: usize) -> Result<(Element, u64), String> {
    match descr {
        Literal::Text(code) => plain(code),
        Literal::List(fields) if depth < RECORD_DEPTH_MAX => {
            let (mut record, mut offset) = (Vec::new(), 0u64);
            for field in fields {
                let Literal::List(parts) = field else {
                    return Err("a field of its records is not a tuple".to_owned());
                };
                let (name, descr, inner) = match &parts[..] {
                    [name, descr] => (name, descr, Vec::new()),
                    [name, descr, inner] => (name, descr, shape(inner)?),
                    _ => return Err("a field of its records has no name and type".to_owned()),
                };
                // A field with a title has the name (title, name).
                let name = match name {
                    Literal::Text(name) => name,
                    Literal::List(pair) => match &pair[..] {
                        [_, Literal::Text(name)] => name,
                        _ => return Err("a field of its records has no name".to_owned()),
                    },
                    _ => return Err("a field of its records has no name".to_owned()),
                };
                let (element, bytes) = element(descr, depth + 1)?;
                let bytes = inner
                    .iter()
                    .try_fold(bytes, |bytes, side| bytes.checked_mul(*side));
                let end = bytes.and_then(|bytes| offset.checked_add(bytes));
                record.push((name.clone(), offset, element, inner));
                offset = end.ok_or("its records are too large")?;
            }
            Ok((Element::Record(record), offset))
        }
        _ => Err("its type is neither a code nor a list of fields".to_owned()),
    }
}

/// Reads a type code such as `<f4`: byte order, kind, and size (in bytes; for `U`, in characters).
fn plain(code: &str) -> Result<(Element, u64), String> {
    let bad = || format!("its type {code:?} is unknown");
    if code.contains('O') {
        return Ok((Element::Objects, 8));
    }
    let (order, rest) = code.split_at_checked(1).ok_or_else(bad)?;
    let (kind, count) = rest.split_at_checked(1).ok_or_else(bad)?;
    // The unit of a date follows the size: `M8[ns]`.
    let digits = count.split('[').next().unwrap_or_default();
    let count: u64 = digits.parse().map_err(|_| bad())?;
    let (kind, bytes) = match (kind, count) {
        ("f", 2 | 4 | 8) => (ElementKind::Float, count),
        ("i", 1 | 2 | 4 | 8) => (ElementKind::Int, count),
        ("u", 1 | 2 | 4 | 8) => (ElementKind::Uint, count),
        ("b", 1) => (ElementKind::Bool, count),
        ("S", 1..) => (ElementKind::Ascii, count),
        ("U", 1..) => (ElementKind::Unicode, count.checked_mul(4).ok_or_else(bad)?),
        ("V" | "M" | "m" | "c" | "f" | "S" | "U", _) => return Ok((Element::Other, count)),
        _ => return Err(bad()),
    };
    let dtype = Dtype {
        kind,
        bytes: usize::try_from(bytes).map_err(|_| bad())?,
        big_endian: match order {
            ">" => true,
            "<" | "|" | "=" => false,
            _ => return Err(bad()),
        },
    };
    Ok((Element::Plain(dtype), bytes))
}

/// Reads a shape: a tuple, or one number for a single axis.
fn shape(literal: &Literal) -> Result<Vec<u64>, String> {
    let side = |literal: &Literal| match literal {
        Literal::Int(side) => Ok(*side),
        _ => Err("its shape has an axis that is not a whole number".to_owned()),
    };
    match literal {
        Literal::List(sides) if sides.len() > AXES_MAX => {
            Err(format!("its shape has more than {AXES_MAX} axes"))
        }
        Literal::List(sides) => sides.iter().map(side).collect(),
        one => Ok(vec![side(one)?]),
    }
}

#[cfg(test)]
mod tests;
