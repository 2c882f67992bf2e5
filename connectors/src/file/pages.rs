//! Checks each page before a decoder sees it, and counts the bytes that the decoder holds. The decoder trusts the headers
//! of pages.
//!
//! A *step* is the decoding of one chunk of rows. During a step, a column holds its dictionary, the current page, and the
//! values decoded so far.
use std::{collections::BTreeMap, ops::Range};

use parquet::{
    basic::{Compression, Type},
    file::metadata::ColumnChunkMetaData,
};

use crate::{
    Error,
    file::thrift::{Event, walk},
};

/// A step may hold this many bytes more than was set aside for it, because estimates are not exact.
const SLACK_BYTES: u64 = 16 << 20;

/// The header of a page.
#[derive(Debug, Default, PartialEq)]
struct Header {
    bytes: usize,
    is_dictionary: bool,
    page_bytes: u64,
    decompressed_bytes: u64,
    values: u64,
    /// The number of rows, if the header has it.
    rows: Option<u64>,
    /// The place of the number of nulls, if that number is -1. Some writers write -1 if they do not know the number.
    unknown_nulls: Option<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut header, mut possible) = (Self::default(), true);
        let walked = walk(bytes, |path, event| {
            let Event::Int(value, place) = event else {
                return;
            };
            if let ([8, 2], -1, 1) = (path, value, place.len()) {
                header.unknown_nulls = Some(place.start);
            }
            let Ok(count) = u64::try_from(value) else {
                possible &= !matches!(path, [2 | 3] | [5 | 7, 1] | [8, 1 | 3]);
                return;
            };
            match path {
                [1] => header.is_dictionary = count == 2,
                [2] => header.decompressed_bytes = count,
                [3] => header.page_bytes = count,
                [5 | 7 | 8, 1] => header.values = count,
                [8, 3] => header.rows = Some(count),
                _ => {}
            }
        });
        header.bytes = walked?;
        possible.then_some(header)
    }
}

/// A column chunk whose pages are read.
#[derive(Debug)]
struct Chunk {
    range: Range<u64>,
    /// The place of the next header, while pages are found one after another.
    next: u64,
    leaf: usize,
    name: String,
    kind: Type,
    width: u64,
    level_bytes: u64,
    is_flat: bool,
    is_compressed: bool,
    values: u64,
    /// The start of each page and its number of rows, from the index.
    pages: Vec<(u64, u64)>,
}

/// The bytes and values that a column holds in a step.
#[derive(Debug, Default)]
struct Held {
    dictionary: u64,
    page: u64,
    page_values: u64,
    values: u64,
    bytes: u64,
}

/// The place in a header that says that the number of nulls is not known.
#[derive(Debug, PartialEq)]
pub struct UnknownNulls {
    /// The place of the byte, counted from the start of the header.
    pub place: usize,
    /// The size of the header.
    pub header_bytes: usize,
}

/// Why a decoder must not go on.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// A page contradicts the footer or the index.
    Lie(String),
    /// A step needs this many bytes. The text names the page that needs most of them.
    Bytes(u64, String),
}

impl Refusal {
    /// Makes the error for an object of this name.
    pub fn of(self, object: &str) -> Error {
        let object = object.to_owned();
        match self {
            Self::Lie(reason) => Error::Corrupt { object, reason },
            Self::Bytes(needs, what) => Error::Memory {
                object,
                what,
                needs,
                allowed: 0,
            },
        }
    }
}

/// The column chunks that a decoder reads, and the bytes that it holds.
#[derive(Debug)]
pub struct Pages {
    chunks: Vec<Chunk>,
    held: BTreeMap<usize, Held>,
    total: u64,
    step_rows: u64,
    allowed: u64,
}

impl Pages {
    /// Checks a decoder that decodes `step_rows` at a time, and may hold little more than `allowed` bytes.
    pub fn new(step_rows: usize, allowed: u64) -> Self {
        Self {
            chunks: Vec::new(),
            held: BTreeMap::new(),
            total: 0,
            step_rows: step_rows as u64,
            allowed,
        }
    }

    /// Adds a column chunk. `pages` has the start and the number of rows of each page, and is empty without an index.
    pub fn expect(&mut self, leaf: usize, chunk: &ColumnChunkMetaData, pages: Vec<(u64, u64)>) {
        let (start, bytes) = chunk.byte_range();
        let column = chunk.column_descr();
        self.chunks.push(Chunk {
            range: start..start + bytes,
            next: start,
            leaf,
            name: column.path().string(),
            kind: chunk.column_type(),
            width: value_bytes(chunk),
            level_bytes: level_bytes(chunk),
            is_flat: column.max_rep_level() == 0,
            is_compressed: chunk.compression() != Compression::UNCOMPRESSED,
            values: chunk.num_values().max(0) as u64,
            pages,
        });
    }

    /// Sorts the column chunks. Must be called after the last column chunk is added.
    pub fn ready(mut self) -> Self {
        self.chunks.sort_by_key(|chunk| chunk.range.start);
        self
    }

    /// Begins a new step. Only the dictionary and the current page of each column stay.
    pub fn step(&mut self) {
        self.total = 0;
        for held in self.held.values_mut() {
            held.values = held.page_values;
            held.bytes = 0;
        }
    }

    /// Checks the bytes that a decoder is about to read, if a page begins at `start`.
    ///
    /// # Errors
    /// [`Refusal`] if the decoder must not see the bytes.
    pub fn look(&mut self, start: u64, bytes: &[u8]) -> Result<Option<UnknownNulls>, Refusal> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.range.start <= start);
        let Some(chunk) = after
            .checked_sub(1)
            .and_then(|place| self.chunks.get_mut(place))
        else {
            return Ok(None);
        };
        let indexed = chunk
            .pages
            .binary_search_by_key(&start, |(offset, _)| *offset);
        let rows = indexed.ok().map(|place| chunk.pages[place].1);
        if rows.is_none() && start != chunk.next && start != chunk.range.start {
            return Ok(None);
        }
        let lie = |what: &str| Refusal::Lie(format!("a page of column {} {what}", chunk.name));
        let header = Header::parse(bytes).ok_or_else(|| lie("has a damaged header"))?;
        chunk.next = start + header.bytes as u64 + header.page_bytes;
        let values = header.values;
        if header.is_dictionary {
            let entry_bytes = match chunk.kind {
                Type::BYTE_ARRAY => 4,
                _ => chunk.width.max(1),
            };
            if values.saturating_mul(entry_bytes) > header.decompressed_bytes {
                return Err(lie("is a dictionary with more entries than fit into it"));
            }
        } else if values > chunk.values {
            return Err(lie("has more values than the footer promises"));
        } else if let Some(rows) = rows {
            let found = header.rows.or(chunk.is_flat.then_some(values));
            if found.is_some_and(|found| found != rows) || values < rows {
                return Err(lie("has other rows than the page index says"));
            }
        }
        self.take(after - 1, &header)?;
        Ok(header.unknown_nulls.map(|place| UnknownNulls {
            place,
            header_bytes: header.bytes,
        }))
    }

    /// Counts the bytes of a page.
    fn take(&mut self, place: usize, header: &Header) -> Result<(), Refusal> {
        let chunk = &self.chunks[place];
        let held = self.held.entry(chunk.leaf).or_default();
        let before = held.bytes;
        let page_bytes = match chunk.is_compressed {
            true => header.decompressed_bytes,
            false => header.page_bytes,
        };
        if header.is_dictionary {
            // The page, and its decoded values.
            held.dictionary = page_bytes.saturating_add(header.values.saturating_mul(chunk.width));
        } else {
            held.page = page_bytes;
            held.page_values = header.values;
            held.values = held.values.saturating_add(header.values);
        }
        let values = match chunk.is_flat {
            true => held.values.min(self.step_rows),
            false => held.values,
        };
        let arrays = values.saturating_mul(chunk.width + chunk.level_bytes);
        held.bytes = held
            .dictionary
            .saturating_add(held.page)
            .saturating_add(arrays);
        self.total = (self.total - before).saturating_add(held.bytes);
        if self.total > self.allowed.saturating_add(SLACK_BYTES) {
            let what = format!(
                "a page of column {} has {} values and {page_bytes} bytes",
                chunk.name, header.values
            );
            return Err(Refusal::Bytes(self.total, what));
        }
        Ok(())
    }
}

/// The decoded size of a value. For text, the size of its view.
pub fn value_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => chunk.column_descr().type_length().max(0) as u64,
        Type::BYTE_ARRAY => 16,
    }
}

/// The size of the levels of a value in a list.
pub fn level_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_descr().max_rep_level() {
        0 => 0,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::{
        basic::Repetition,
        schema::types::{ColumnDescriptor, ColumnPath, Type as SchemaType},
    };

    use super::*;

    /// Pages of a column of text or numbers of 1,000 values.
    fn pages(kind: Type, step_rows: usize, allowed: u64) -> Pages {
        let of = SchemaType::primitive_type_builder("mag_r", kind)
            .with_repetition(Repetition::REQUIRED)
            .build()
            .unwrap();
        let path = ColumnPath::new(vec!["mag_r".to_owned()]);
        let column = ColumnDescriptor::new(Arc::new(of), 0, 0, path);
        let chunk = ColumnChunkMetaData::builder(Arc::new(column))
            .set_compression(Compression::SNAPPY)
            .set_num_values(1000)
            .set_total_compressed_size(500)
            .set_data_page_offset(100)
            .build()
            .unwrap();
        let mut pages = Pages::new(step_rows, allowed);
        pages.expect(0, &chunk, Vec::new());
        pages.ready()
    }

    fn zigzag(value: u64) -> Vec<u8> {
        let (mut left, mut bytes) = (value << 1, Vec::new());
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    }

    /// A header: of a dictionary, or of a page of values.
    fn header(is_dictionary: bool, decompressed: u64, values: u64) -> Vec<u8> {
        let (kind, of) = if is_dictionary { (2, 0x4c) } else { (0, 0x2c) };
        [
            vec![0x15],
            zigzag(kind),
            vec![0x15],
            zigzag(decompressed),
            vec![0x15],
            zigzag(10),
            vec![of, 0x15],
            zigzag(values),
            vec![0, 0],
        ]
        .concat()
    }

    #[test]
    fn an_honest_page_is_passed_on() {
        let mut pages = pages(Type::FLOAT, 1000, 8000);
        assert_eq!(pages.look(100, &header(false, 4000, 1000)), Ok(None));
        // Bytes between pages are not a page.
        assert_eq!(pages.look(105, &[0xff; 4]), Ok(None));
    }

    #[test]
    fn a_page_that_expands_is_more_than_was_set_aside() {
        let mut pages = pages(Type::FLOAT, 1000, 8000);
        let refused = pages.look(100, &header(false, (1 << 31) - 1, 1000));
        let Err(Refusal::Bytes(bytes, what)) = refused else {
            panic!("{refused:?}");
        };
        assert!((1 << 31..(1 << 31) + 8000).contains(&bytes), "{bytes}");
        assert!(what.contains("mag_r"), "{what}");
    }

    #[test]
    fn counts_that_do_not_fit_are_lies() {
        for (is_dictionary, values) in [(true, (1 << 31) - 1), (true, 1001), (false, 1001)] {
            let mut pages = pages(Type::FLOAT, 1000, u64::MAX);
            let refused = pages.look(100, &header(is_dictionary, 4000, values));
            assert!(matches!(refused, Err(Refusal::Lie(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_step_pays_for_what_it_holds() {
        let mut pages = pages(Type::INT32, 10, 0);
        let page = header(false, SLACK_BYTES - 1000, 1000);
        assert_eq!(pages.look(100, &page), Ok(None));
        let next = 100 + page.len() as u64 + 10;
        pages.step();
        assert_eq!(pages.look(next, &page), Ok(None), "the page before is gone");
    }
}
