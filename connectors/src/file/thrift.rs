//! Walks data in Thrift's compact protocol without allocating. Footers, page indexes and page headers are checked this
//! way before a decoder, which trusts their counts, sees them.
use std::ops::Range;

/// Upper bound on the depth of nested structs and lists in the metadata of Parquet.
const DEPTH_MAX: usize = 24;

/// A value that a walk finds.
pub enum Event {
    /// An integer, and the range of its bytes.
    Int(i64, Range<usize>),
    /// The number of elements of a list. The elements come next.
    List(u64),
}

/// Walks the struct at the front of `bytes` and returns its size. Calls `visit` with each value and the ids of the fields
/// that lead to it. Returns `None` if the bytes are not a struct, or if a list has more elements than bytes follow.
pub fn walk(bytes: &[u8], mut visit: impl FnMut(&[i16], Event)) -> Option<usize> {
    let mut walker = Walker { bytes, at: 0 };
    walker.fields(&mut Vec::new(), &mut visit)?;
    Some(walker.at)
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        self.at = end;
        (end <= self.bytes.len()).then_some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a signed integer in "zigzag" encoding.
    fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn fields(&mut self, path: &mut Vec<i16>, visit: &mut impl FnMut(&[i16], Event)) -> Option<()> {
        if path.len() >= DEPTH_MAX {
            return None;
        }
        let mut field = 0_i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            field = match header >> 4 {
                0 => i16::try_from(self.int()?).ok()?,
                step => field.checked_add(i16::from(step))?,
            };
            path.push(field);
            // The type of a boolean field is its value.
            if header & 0xf > 2 {
                self.value(header & 0xf, path, visit)?;
            }
            path.pop();
        }
    }

    fn value(
        &mut self,
        kind: u8,
        path: &mut Vec<i16>,
        visit: &mut impl FnMut(&[i16], Event),
    ) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let start = self.at;
                let value = self.int()?;
                visit(path, Event::Int(value, start..self.at));
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let bytes = self.varint()?;
                self.skip(bytes)
            }
            9 | 10 => self.list(path, visit),
            12 => self.fields(path, visit),
            // The metadata of Parquet has no maps.
            _ => None,
        }
    }

    fn list(&mut self, path: &mut Vec<i16>, visit: &mut impl FnMut(&[i16], Event)) -> Option<()> {
        if path.len() >= DEPTH_MAX {
            return None;
        }
        let header = self.byte()?;
        let size = match header >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        if size > (self.bytes.len() - self.at) as u64 {
            return None;
        }
        visit(path, Event::List(size));
        (0..size).try_for_each(|_| self.value(header & 0xf, path, visit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_found_by_their_fields() {
        // {1: -1, 2: [{5: 3}, {5: 4}], 20: 300}
        let bytes = [
            0x15, 0x01, 0x19, 0x2c, 0x55, 0x06, 0x00, 0x55, 0x08, 0x00, 0x05, 0x28, 0xd8, 0x04,
            0x00, 0xff,
        ];
        let mut seen = Vec::new();
        let taken = walk(&bytes, |path, event| {
            seen.push(match event {
                Event::Int(value, _) => (path.to_vec(), value),
                Event::List(size) => (path.to_vec(), size as i64),
            });
        });
        let expected = [
            (&[1][..], -1),
            (&[2], 2),
            (&[2, 5], 3),
            (&[2, 5], 4),
            (&[20], 300),
        ];
        assert_eq!(taken, Some(15));
        assert_eq!(seen, expected.map(|(path, value)| (path.to_vec(), value)));
    }

    #[test]
    fn a_list_longer_than_its_bytes_is_refused() {
        // {1: a list of 2^31 - 1 structs}
        let bytes = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
        assert_eq!(walk(&bytes, |_, _| {}), None);
    }
}
