//! Formats the JSON of a metrics file.
use std::io;

use serde_json::ser::Formatter;

/// Writes JSON for people: each slice on a line of its own, because most of a file is slices.
#[derive(Default)]
pub(super) struct SliceALine {
    depth: usize,
    has_value: bool,
}

impl SliceALine {
    /// The depth of a JSON object that is a slice.
    const SLICE: usize = 3;

    fn new_line(&self, to: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        write!(to, "\n{:indent$}", "", indent = 2 * self.depth)
    }
}

impl Formatter for SliceALine {
    fn begin_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        (self.depth, self.has_value) = (self.depth + 1, false);
        to.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        match (first, self.depth < Self::SLICE) {
            (true, true) => self.new_line(to),
            (true, false) => Ok(()),
            (false, true) => to.write_all(b",").and_then(|()| self.new_line(to)),
            (false, false) => to.write_all(b", "),
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _to: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        let is_slice = self.depth >= Self::SLICE;
        self.depth -= 1;
        if self.has_value && !is_slice {
            self.new_line(to)?;
        }
        to.write_all(b"}")
    }
}
