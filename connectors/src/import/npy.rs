//! What `numpy.savez` has written: arrays by name.
//!
//! A `.npz` is a zip archive of `.npy` members, stored or deflated. A `.npy` is a header, which is a Python dict in
//! text, and the elements. Versions 1 to 3, either byte order and C or Fortran order are read; the fields of a record
//! array become arrays of their own, `labels.z` for the field `z` of `labels`. Arrays of objects are pickles, and are
//! not read.

use super::ImportError;
use super::array::{Array, Dtype, FIELDS_MAX, Kind, SIDES_MAX, Table, add_field};
use super::zip::{Archive, Member};

/// The largest header; numpy itself refuses longer ones than 10,000.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Records lie no deeper in each other than this.
const DEPTH_MAX: usize = 16;

/// The arrays of a `.npz`.
pub(super) fn table(archive: Archive) -> Result<Table, ImportError> {
    let names = archive.names().filter(|name| name.ends_with(".npy"));
    let names: Vec<String> = names.take(FIELDS_MAX + 1).map(str::to_owned).collect();
    if names.len() > FIELDS_MAX {
        let reason = format!("it has more than {FIELDS_MAX} arrays");
        return Err(ImportError::unsupported(archive.path(), reason));
    }
    let mut table = Table::default();
    for name in names {
        let mut member = archive.member(&name)?;
        let header = read_header(&mut member)?;
        let array = name.strip_suffix(".npy").unwrap_or(&name);
        if header.element.has_objects() {
            table.objects.push(array.to_owned());
        } else {
            header
                .fields(array, table.members.len(), &mut table.fields)
                .map_err(|reason| ImportError::unsupported(archive.path(), reason))?;
            // Headers of all members at once could be more than the file.
            member.release();
            table.members.push(member);
        }
    }
    Ok(table)
}

fn read_header(member: &mut Member) -> Result<Header, ImportError> {
    let damaged = |member: &Member, reason: &str| {
        ImportError::corrupt(member.path(), format!("{}: {reason}", member.name()))
    };
    let front = member.read(0..12.min(member.size()))?;
    let (at, len) = match front {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            (10, u64::from(u16::from_le_bytes([*a, *b])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d] => {
            (12, u64::from(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => {
            return Err(damaged(
                member,
                "it does not begin as a .npy of a known version",
            ));
        }
    };
    if len > HEADER_BYTES_MAX {
        return Err(damaged(member, "its header is too long"));
    }
    let text = member.read(at..at + len)?;
    let text = String::from_utf8_lossy(text).into_owned();
    Header::parse(&text, at + len).map_err(|reason| damaged(member, &reason))
}

/// What a `.npy` says of itself.
#[derive(Debug, PartialEq)]
struct Header {
    element: Element,
    /// Bytes of an element.
    bytes: u64,
    fortran: bool,
    shape: Vec<u64>,
    /// Where the elements begin.
    start: u64,
}

/// What an element is made of.
#[derive(Debug, Clone, PartialEq)]
enum Element {
    Plain(Dtype),
    /// Fields by name, with their offset in the record and their own shape.
    Record(Vec<(String, u64, Element, Vec<u64>)>),
    /// Padding, dates and others: they have bytes, and are not read.
    Other,
    /// Python objects: the array is a pickle.
    Objects,
}

impl Element {
    fn has_objects(&self) -> bool {
        match self {
            Self::Objects => true,
            Self::Record(fields) => fields.iter().any(|field| field.2.has_objects()),
            Self::Plain(_) | Self::Other => false,
        }
    }
}

impl Header {
    fn parse(text: &str, start: u64) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let Literal::Dict(entries) = parser.literal(0)? else {
            return Err("its header is no dict".to_owned());
        };
        let get = |key: &str| {
            let entry = entries.iter().find(|(name, _)| name == key);
            entry
                .map(|(_, value)| value)
                .ok_or_else(|| format!("its header has no {key}"))
        };
        let (element, bytes) = element(get("descr")?, 0)?;
        let fortran = match get("fortran_order")? {
            Literal::Bool(fortran) => *fortran,
            _ => return Err("its fortran_order is no bool".to_owned()),
        };
        Ok(Self {
            element,
            bytes,
            fortran,
            shape: shape(get("shape")?)?,
            start,
        })
    }

    /// The arrays of numbers or text that it holds, with their names.
    fn fields(
        &self,
        name: &str,
        member: usize,
        into: &mut Vec<(String, Array)>,
    ) -> Result<(), String> {
        let mut strides = vec![0; self.shape.len()];
        let mut step = self.bytes;
        let mut set = |(stride, side): (&mut u64, &u64)| {
            *stride = step;
            // What does not fit into 64 bits fits into no file: the view is checked before it is used.
            step = step.saturating_mul((*side).max(1));
        };
        let axes = strides.iter_mut().zip(&self.shape);
        if self.fortran {
            axes.for_each(&mut set);
        } else {
            axes.rev().for_each(&mut set);
        }
        let outer = Outer {
            member,
            start: self.start,
            shape: self.shape.clone(),
            strides,
        };
        outer.fields(name, 0, &self.element, self.bytes, &[], into)
    }
}

/// The axes of the array that fields are fields of.
struct Outer {
    member: usize,
    start: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

impl Outer {
    /// `inner` is the shape of a field in its record, `bytes` that of one of its elements.
    fn fields(
        &self,
        name: &str,
        within: u64,
        element: &Element,
        bytes: u64,
        inner: &[u64],
        into: &mut Vec<(String, Array)>,
    ) -> Result<(), String> {
        match element {
            Element::Other | Element::Objects => {}
            Element::Plain(dtype) => {
                let (mut shape, mut strides) = (self.shape.clone(), self.strides.clone());
                for (axis, side) in inner.iter().enumerate() {
                    let behind = inner[axis + 1..].iter();
                    shape.push(*side);
                    strides.push(behind.fold(bytes, |step, side| step.saturating_mul(*side)));
                }
                let array = Array {
                    member: self.member,
                    dtype: *dtype,
                    start: self.start,
                    within,
                    shape,
                    strides,
                };
                add_field(into, name.to_owned(), array)?;
            }
            // Records of records, but no arrays of records in records.
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

/// An element and its bytes, from a `descr`: a type's code, or a list of fields.
fn element(descr: &Literal, depth: usize) -> Result<(Element, u64), String> {
    match descr {
        Literal::Text(code) => plain(code),
        Literal::List(fields) if depth < DEPTH_MAX => {
            let (mut record, mut offset) = (Vec::new(), 0u64);
            for field in fields {
                let Literal::List(parts) = field else {
                    return Err("a field of its records is no tuple".to_owned());
                };
                let (name, descr, inner) = match &parts[..] {
                    [name, descr] => (name, descr, Vec::new()),
                    [name, descr, inner] => (name, descr, shape(inner)?),
                    _ => return Err("a field of its records has no name and type".to_owned()),
                };
                // A field with a title is named by (title, name).
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

/// `<f4` and the like: byte order, kind, and bytes (of `U`, characters).
fn plain(code: &str) -> Result<(Element, u64), String> {
    let bad = || format!("its type {code:?} is unknown");
    if code.contains('O') {
        return Ok((Element::Objects, 8));
    }
    let (order, rest) = code.split_at_checked(1).ok_or_else(bad)?;
    let (kind, count) = rest.split_at_checked(1).ok_or_else(bad)?;
    // Dates have their unit behind the count: `M8[ns]`.
    let digits = count.split('[').next().unwrap_or_default();
    let count: u64 = digits.parse().map_err(|_| bad())?;
    let (kind, bytes) = match (kind, count) {
        ("f", 2 | 4 | 8) => (Kind::Float, count),
        ("i", 1 | 2 | 4 | 8) => (Kind::Int, count),
        ("u", 1 | 2 | 4 | 8) => (Kind::Uint, count),
        ("b", 1) => (Kind::Bool, count),
        ("S", 1..) => (Kind::Ascii, count),
        ("U", 1..) => (Kind::Unicode, count.checked_mul(4).ok_or_else(bad)?),
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

fn shape(literal: &Literal) -> Result<Vec<u64>, String> {
    let side = |literal: &Literal| match literal {
        Literal::Int(side) => Ok(*side),
        _ => Err("its shape is not made of whole numbers".to_owned()),
    };
    match literal {
        Literal::List(sides) if sides.len() > SIDES_MAX => {
            Err(format!("its shape has more than {SIDES_MAX} sides"))
        }
        Literal::List(sides) => sides.iter().map(side).collect(),
        one => Ok(vec![side(one)?]),
    }
}

/// What stands in a header.
#[derive(Debug, PartialEq)]
enum Literal {
    Text(String),
    Int(u64),
    Bool(bool),
    /// A list or a tuple.
    List(Vec<Literal>),
    Dict(Vec<(String, Literal)>),
}

/// Reads Python literals, as far as headers have them.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn literal(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > 2 * DEPTH_MAX {
            return Err("its header is too deep".to_owned());
        }
        match self.peek() {
            Some('{') => self.dict(depth),
            Some('[' | '(') => self.list(depth),
            Some('\'' | '"') => self.text().map(Literal::Text),
            Some('0'..='9') => self.int(),
            _ if self.skip("True") => Ok(Literal::Bool(true)),
            _ if self.skip("False") => Ok(Literal::Bool(false)),
            _ => Err("its header cannot be read".to_owned()),
        }
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Goes past `token`, if it comes next.
    fn skip(&mut self, token: &str) -> bool {
        self.peek();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, String> {
        let mut entries = Vec::new();
        self.skip("{");
        while !self.skip("}") {
            let key = self.text()?;
            if !self.skip(":") {
                return Err("its header misses a colon".to_owned());
            }
            entries.push((key, self.literal(depth + 1)?));
            self.comma("}")?;
        }
        Ok(Literal::Dict(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Literal, String> {
        let close = if self.skip("[") {
            "]"
        } else {
            self.skip("(");
            ")"
        };
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(self.literal(depth + 1)?);
            self.comma(close)?;
        }
        Ok(Literal::List(items))
    }

    /// A comma, or `close`, which stays.
    fn comma(&mut self, close: &str) -> Result<(), String> {
        if self.skip(",") || self.rest.starts_with(close) {
            Ok(())
        } else {
            Err("its header misses a comma".to_owned())
        }
    }

    /// Text in quotes; names have no escapes but of quotes and backslashes.
    fn text(&mut self) -> Result<String, String> {
        let unfinished = || "its header has text without an end".to_owned();
        let quote = self.peek().ok_or_else(unfinished)?;
        if !matches!(quote, '\'' | '"') {
            return Err("its header has a name without quotes".to_owned());
        }
        let (mut text, mut escaped) = (String::new(), false);
        for (at, character) in self.rest.char_indices().skip(1) {
            match character {
                _ if escaped => {
                    text.push(character);
                    escaped = false;
                }
                '\\' => escaped = true,
                other if other == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err(unfinished())
    }

    /// A whole number; Python 2 put an L behind it.
    fn int(&mut self) -> Result<Literal, String> {
        let len = self.rest.find(|digit: char| !digit.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        let int = digits.parse();
        int.map(Literal::Int)
            .map_err(|_| "its header has a number that is too large".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(header: &str) -> Vec<(String, Array)> {
        let mut fields = Vec::new();
        let header = Header::parse(header, 128).unwrap();
        header.fields("a", 0, &mut fields).unwrap();
        fields
    }

    #[test]
    fn an_array_in_either_order_is_a_view() {
        let [(name, array)] =
            &fields("{'descr': '>f8', 'fortran_order': False, 'shape': (7, 5), }  \n")[..]
        else {
            panic!("one array");
        };
        assert_eq!((name.as_str(), &array.strides[..]), ("a", &[40, 8][..]));
        assert!(array.dtype.big_endian);
        let fortran = &fields("{'descr': '<f4', 'fortran_order': True, 'shape': (7, 5)}")[0].1;
        assert_eq!(fortran.strides, [4, 28]);
    }

    #[test]
    fn fields_of_records_are_arrays_with_gaps() {
        let header = "{'descr': [('id', '<i8'), ('', '|V4'), ('mag', '<f4', (5,)), ('name', '<U3'), \
                      ('pos', [('ra', '<f8'), ('dec', '<f8')])], 'fortran_order': False, 'shape': (3,)}";
        let found: Vec<_> = fields(header)
            .into_iter()
            .map(|(name, array)| (name, array.within, array.shape, array.strides))
            .collect();
        let expected = [
            ("a.id", 0, vec![3], vec![60]),
            ("a.mag", 12, vec![3, 5], vec![60, 4]),
            ("a.name", 32, vec![3], vec![60]),
            ("a.pos.ra", 44, vec![3], vec![60]),
            ("a.pos.dec", 52, vec![3], vec![60]),
        ];
        let expected =
            expected.map(|(name, at, shape, strides)| (name.to_owned(), at, shape, strides));
        assert_eq!(found, expected);
    }

    #[test]
    fn objects_are_known_for_what_they_are() {
        let descr = ["'|O'", "[('id', '<i8'), ('pos', [('ra', '|O')])]"];
        for (descr, known) in descr
            .map(|descr| (descr, true))
            .into_iter()
            .chain([("'<f4'", false)])
        {
            let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3,)}}");
            let header = Header::parse(&header, 0).unwrap();
            assert_eq!(header.element.has_objects(), known, "{descr}");
        }
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic(
            changes in proptest::collection::vec((0usize..90, any::<char>()), 0..8),
            len in 0usize..100,
        ) {
            let header = "{'descr': [('id', '<i8'), ('m', '<f4', (5,))], 'fortran_order': False, 'shape': (3, 4)}";
            let mut text: Vec<char> = header.chars().collect();
            changes.iter().filter(|(at, _)| *at < header.len()).for_each(|&(at, to)| text[at] = to);
            let text: String = text.into_iter().take(len).collect();
            if let Ok(header) = Header::parse(&text, 128) {
                let _ = header.fields("a", 0, &mut Vec::new());
            }
        }
    }
}
