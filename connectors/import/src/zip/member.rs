//! A member of a zip archive.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Crc, read::DeflateDecoder};

use super::directory::MemberRecord;
use crate::error::ImportError;

/// A member. It keeps the range that was read last.
pub(crate) struct Member {
    path: PathBuf,
    file: Arc<File>,
    name: String,
    start: u64,
    packed: u64,
    size: u64,
    checksum: u32,
    /// The CRC-32 of the bytes read in order so far, and their number.
    hashed: (Crc, u64),
    compression: Compression,
    window: Vec<u8>,
    window_at: u64,
}

/// How a member is packed.
enum Compression {
    Stored,
    /// Deflated, with the decoder if reading has begun.
    Deflated(Option<Inflater>),
}

/// A decoder and the number of bytes that it has returned.
struct Inflater {
    decoder: DeflateDecoder<io::BufReader<FileSection>>,
    position: u64,
}

impl Member {
    /// The member of an archive whose bytes begin at `start` of the file.
    pub(super) fn new(path: &Path, file: &Arc<File>, record: &MemberRecord, start: u64) -> Self {
        Self {
            path: path.to_owned(),
            file: Arc::clone(file),
            name: record.name.clone(),
            start,
            packed: record.packed,
            size: record.size,
            checksum: record.checksum,
            hashed: (Crc::new(), 0),
            compression: if record.is_deflated {
                Compression::Deflated(None)
            } else {
                Compression::Stored
            },
            window: Vec::new(),
            window_at: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The size when unpacked.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the member is not compressed, so that ranges may be read in any order.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.compression, Compression::Stored)
    }

    /// The bytes of a range.
    pub(crate) fn read(&mut self, range: Range<u64>) -> Result<&[u8], ImportError> {
        if range.start > range.end || range.end > self.size {
            let reason = format!("its member {} is shorter than expected", self.name);
            return Err(ImportError::corrupt(&self.path, reason));
        }
        let window = self.window_at..self.window_at + self.window.len() as u64;
        if range.start < window.start || range.end > window.end {
            let filled = self.fill(&range).and_then(|()| self.hash());
            filled.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    let reason = format!("its member {} is damaged", self.name);
                    ImportError::corrupt(&self.path, reason)
                }
                _ => ImportError::io(&self.path, error),
            })?;
        }
        let from = (range.start - self.window_at) as usize;
        Ok(&self.window[from..from + (range.end - range.start) as usize])
    }

    /// Frees the range that was read last, and the decoder.
    pub(crate) fn release(&mut self) {
        self.window = Vec::new();
        if let Compression::Deflated(inflater) = &mut self.compression {
            *inflater = None;
        }
    }

    /// A whole file as a stored member.
    #[cfg(test)]
    pub(crate) fn whole(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        let mut crc = Crc::new();
        crc.update(&std::fs::read(path).unwrap());
        Self {
            path: path.to_owned(),
            file: Arc::new(file),
            name: "whole".to_owned(),
            start: 0,
            packed: size,
            size,
            checksum: crc.sum(),
            hashed: (Crc::new(), 0),
            compression: Compression::Stored,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// Adds the window to the CRC-32 if the window continues the bytes so far, and checks the CRC-32 at the end.
    fn hash(&mut self) -> io::Result<()> {
        let end = self.window_at + self.window.len() as u64;
        let (crc, hashed) = &mut self.hashed;
        if (self.window_at..end).contains(hashed) {
            crc.update(&self.window[(*hashed - self.window_at) as usize..]);
            *hashed = end;
        }
        let is_whole = *hashed == self.size && self.size > 0;
        if is_whole && crc.sum() != self.checksum {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Reads a range into the window.
    fn fill(&mut self, range: &Range<u64>) -> io::Result<()> {
        let len = (range.end - range.start) as usize;
        self.window_at = range.start;
        self.window.clear();
        let Compression::Deflated(inflater) = &mut self.compression else {
            self.window.resize(len, 0);
            return self
                .file
                .read_exact_at(&mut self.window, self.start + range.start);
        };
        let continued = inflater
            .take()
            .filter(|inflater| inflater.position <= range.start);
        let inflater = inflater.insert(continued.unwrap_or_else(|| Inflater {
            decoder: DeflateDecoder::new(io::BufReader::new(FileSection {
                file: Arc::clone(&self.file),
                rest: self.start..self.start + self.packed,
            })),
            position: 0,
        }));
        let skip = range.start - inflater.position;
        io::copy(&mut inflater.decoder.by_ref().take(skip), &mut io::sink())?;
        // Memory grows with the bytes that are decoded, not with the size that the archive claims.
        let read = inflater
            .decoder
            .by_ref()
            .take(len as u64)
            .read_to_end(&mut self.window)?;
        inflater.position = range.start + read as u64;
        if read < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

/// A range of a file as a stream.
struct FileSection {
    file: Arc<File>,
    rest: Range<u64>,
}

impl Read for FileSection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer
            .len()
            .min(usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..len], self.rest.start)?;
        self.rest.start += read as u64;
        Ok(read)
    }
}
