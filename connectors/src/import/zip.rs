//! Members of a zip archive, by ranges of their bytes.
//!
//! `torch.save` and `numpy.savez` store their members as they are, `numpy.savez_compressed` deflates them. A range of a
//! stored member is read from where it lies; a deflated one is read from its beginning to its end, once, if ranges are
//! asked for in order. Archives and members beyond 4 GB have the fields of zip64. The checksum of a member is compared when
//! it was read from its beginning to its end in order, as drops and weights are.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Crc, read::DeflateDecoder};

use super::ImportError;

/// Bytes of the archive's last record without its comment, and the most that a comment has.
const END_LEN: u64 = 22;
const COMMENT_LEN_MAX: u64 = 65_535;
/// A directory of more bytes than this is none of ours.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// An archive and the list of its members.
pub(super) struct Archive {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    deflated: bool,
    header_at: u64,
    packed: u64,
    size: u64,
    checksum: u32,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let broken = |error| ImportError::io(path, error);
        let file = File::open(path).map_err(broken)?;
        let bytes = file.metadata().map_err(broken)?.len();
        let directory = find_directory(&file, bytes)
            .map_err(broken)?
            .filter(|range| {
                range.start <= range.end && range.end - range.start <= DIRECTORY_BYTES_MAX
            })
            .ok_or_else(|| {
                let reason = "it is not a whole zip archive, as torch.save (PyTorch 1.6 or newer) and numpy.savez \
                              write them";
                ImportError::corrupt(path, reason)
            })?;
        let directory = read_at(&file, directory).map_err(broken)?;
        let entries = parse_directory(&directory)
            .ok_or_else(|| ImportError::corrupt(path, "its list of members is damaged"))?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            bytes,
            entries,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The member of this name, which must be there.
    pub(super) fn member(&self, name: &str) -> Result<Member, ImportError> {
        let corrupt = |reason: String| ImportError::corrupt(&self.path, reason);
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| corrupt(format!("its member {name} is missing")))?;
        let header = entry.header_at..entry.header_at.saturating_add(30);
        let header =
            read_at(&self.file, header).map_err(|error| ImportError::io(&self.path, error))?;
        let fields = Fields(&header);
        let start = match (fields.u32(0), fields.u16(26), fields.u16(28)) {
            (Some(0x0403_4b50), Some(name), Some(extra)) => entry
                .header_at
                .checked_add(30 + u64::from(name) + u64::from(extra)),
            _ => None,
        };
        let start = start
            .filter(|start| {
                start
                    .checked_add(entry.packed)
                    .is_some_and(|end| end <= self.bytes)
            })
            .ok_or_else(|| corrupt(format!("its member {name} is not where the list says")))?;
        Ok(Member {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            name: entry.name.clone(),
            start,
            packed: entry.packed,
            size: entry.size,
            checksum: entry.checksum,
            hashed: (Crc::new(), 0),
            stream: entry.deflated.then(|| None),
            window: Vec::new(),
            window_at: 0,
        })
    }
}

/// One member; it keeps the range that it read last.
pub(super) struct Member {
    path: PathBuf,
    file: Arc<File>,
    name: String,
    start: u64,
    packed: u64,
    size: u64,
    checksum: u32,
    /// The checksum of the bytes before a place, as far as they were read in order.
    hashed: (Crc, u64),
    /// Of a deflated member, the decoder once there is one.
    stream: Option<Option<Stream>>,
    window: Vec<u8>,
    window_at: u64,
}

/// A decoder and how many bytes came out of it.
struct Stream {
    decoder: DeflateDecoder<io::BufReader<Section>>,
    position: u64,
}

impl Member {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes once unpacked.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether ranges can be read in any order at no cost.
    pub(super) fn is_stored(&self) -> bool {
        self.stream.is_none()
    }

    /// The bytes of a range.
    pub(super) fn read(&mut self, range: Range<u64>) -> Result<&[u8], ImportError> {
        if range.start > range.end || range.end > self.size {
            let reason = format!("its member {} is shorter than it says", self.name);
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

    /// Lets go of what was read last.
    pub(super) fn release(&mut self) {
        self.window = Vec::new();
        self.stream = self.stream.take().map(|_| None);
    }

    /// A whole file.
    #[cfg(test)]
    pub(super) fn whole(path: &Path) -> Self {
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
            stream: None,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// Goes on with the checksum, if the window does.
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

    fn fill(&mut self, range: &Range<u64>) -> io::Result<()> {
        let len = (range.end - range.start) as usize;
        self.window_at = range.start;
        self.window.clear();
        let Some(stream) = &mut self.stream else {
            self.window.resize(len, 0);
            return self
                .file
                .read_exact_at(&mut self.window, self.start + range.start);
        };
        if stream
            .as_ref()
            .is_none_or(|stream| stream.position > range.start)
        {
            let section = Section {
                file: Arc::clone(&self.file),
                rest: self.start..self.start + self.packed,
            };
            *stream = Some(Stream {
                decoder: DeflateDecoder::new(io::BufReader::new(section)),
                position: 0,
            });
        }
        let stream = stream.as_mut().expect("a decoder was just put there");
        let skip = range.start - stream.position;
        io::copy(&mut stream.decoder.by_ref().take(skip), &mut io::sink())?;
        // What comes out decides how much is held, not what the archive says.
        let read = stream
            .decoder
            .by_ref()
            .take(len as u64)
            .read_to_end(&mut self.window)?;
        stream.position = range.start + read as u64;
        if read < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

/// A range of a file as a stream.
struct Section {
    file: Arc<File>,
    rest: Range<u64>,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer
            .len()
            .min(usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..len], self.rest.start)?;
        self.rest.start += read as u64;
        Ok(read)
    }
}

fn read_at(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// Where the list of members lies; `None` where there is no archive's end.
fn find_directory(file: &File, bytes: u64) -> io::Result<Option<Range<u64>>> {
    let tail_at = bytes.saturating_sub(END_LEN + COMMENT_LEN_MAX);
    let tail = read_at(file, tail_at..bytes)?;
    let Some(end) = tail.windows(4).rposition(|four| four == b"PK\x05\x06") else {
        return Ok(None);
    };
    let fields = Fields(&tail[end..]);
    let (Some(len), Some(at)) = (fields.u32(12), fields.u32(16)) else {
        return Ok(None);
    };
    let end_at = tail_at + end as u64;
    let (len, at) = match zip64_end(file, end_at)? {
        Some(wide) => wide,
        None => (u64::from(len), u64::from(at)),
    };
    Ok(at
        .checked_add(len)
        .filter(|&end| end <= end_at)
        .map(|end| at..end))
}

/// Length and place of the list of members by the records of zip64, which stand before the end if there are any.
fn zip64_end(file: &File, end_at: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(locator_at) = end_at.checked_sub(20) else {
        return Ok(None);
    };
    let locator = read_at(file, locator_at..end_at)?;
    let (Some(0x0706_4b50), Some(record_at)) = (Fields(&locator).u32(0), Fields(&locator).u64(8))
    else {
        return Ok(None);
    };
    if record_at.checked_add(56).is_none_or(|end| end > locator_at) {
        return Ok(None);
    }
    let record = read_at(file, record_at..record_at + 56)?;
    let fields = Fields(&record);
    Ok(match (fields.u32(0), fields.u64(40), fields.u64(48)) {
        (Some(0x0606_4b50), Some(len), Some(at)) => Some((len, at)),
        _ => None,
    })
}

/// The members; `None` where the list is damaged, or a member is encrypted or packed in another way.
fn parse_directory(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let fields = Fields(bytes);
        let (name_len, extra_len) = (usize::from(fields.u16(28)?), usize::from(fields.u16(30)?));
        let len = 46 + name_len + extra_len + usize::from(fields.u16(32)?);
        let (flags, method) = (fields.u16(8)?, fields.u16(10)?);
        if fields.u32(0)? != 0x0201_4b50 || flags & 1 != 0 || !matches!(method, 0 | 8) {
            return None;
        }
        let extra = bytes.get(46 + name_len..46 + name_len + extra_len)?;
        let mut wide = Fields(zip64_extra(extra).unwrap_or_default()).all_u64();
        // A field of four bytes that are all ones stands in the extra ones, in this order.
        let mut or_wide = |narrow: u32| match narrow {
            u32::MAX => wide.next(),
            narrow => Some(u64::from(narrow)),
        };
        let (size, packed, header_at) = (
            or_wide(fields.u32(24)?)?,
            or_wide(fields.u32(20)?)?,
            or_wide(fields.u32(42)?)?,
        );
        if method == 0 && size != packed {
            return None;
        }
        entries.push(Entry {
            name: String::from_utf8_lossy(bytes.get(46..46 + name_len)?).into_owned(),
            deflated: method == 8,
            header_at,
            packed,
            size,
            checksum: fields.u32(16)?,
        });
        bytes = bytes.get(len..)?;
    }
    Some(entries)
}

/// The extra field of zip64 among the others.
fn zip64_extra(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (id, len) = (Fields(extra).u16(0)?, usize::from(Fields(extra).u16(2)?));
        let (field, rest) = extra.get(4..)?.split_at_checked(len)?;
        if id == 1 {
            return Some(field);
        }
        extra = rest;
    }
}

/// Little-endian numbers by their offset.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn all_u64(self) -> impl Iterator<Item = u64> + 'a {
        self.0
            .chunks_exact(8)
            .map(|eight| u64::from_le_bytes(eight.try_into().expect("chunks of eight")))
    }
}
