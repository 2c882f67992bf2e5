//! Reads members of a zip archive by byte range.
//!
//! `torch.save` and `numpy.savez` store their members; `numpy.savez_compressed` deflates them. A range of a stored member
//! is read directly. A deflated member is inflated once from beginning to end if its ranges are requested in order.
//! Archives and members above 4 GB use zip64. The CRC-32 of a member is checked when all of the member was read in order.
//!
//! Format: PKWARE's APPNOTE.TXT.

mod directory;
mod little_endian;
mod member;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ImportError;
use directory::{MemberRecord, find_directory, parse_directory, read_at};
use little_endian::LittleEndian;

pub(crate) use member::Member;

/// Upper bound on the size of the list of members.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// An archive and its list of members.
pub(crate) struct Archive {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    entries: Vec<MemberRecord>,
}

impl Archive {
    /// Reads the list of members.
    pub(crate) fn open(path: &Path) -> Result<Self, ImportError> {
        let broken = |error| ImportError::io(path, error);
        let file = File::open(path).map_err(broken)?;
        let bytes = file.metadata().map_err(broken)?.len();
        let directory = find_directory(&file, bytes)
            .map_err(broken)?
            .filter(|range| {
                range.start <= range.end && range.end - range.start <= DIRECTORY_BYTES_MAX
            })
            .ok_or_else(|| {
                let reason = "it is not a complete zip archive, as torch.save (PyTorch 1.6 or newer) and numpy.savez \
                              write";
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

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The member with this name.
    pub(crate) fn member(&self, name: &str) -> Result<Member, ImportError> {
        let corrupt = |reason: String| ImportError::corrupt(&self.path, reason);
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| corrupt(format!("its member {name} is missing")))?;
        let header = entry.header_at..entry.header_at.saturating_add(30);
        let header =
            read_at(&self.file, header).map_err(|error| ImportError::io(&self.path, error))?;
        let fields = LittleEndian(&header);
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
            .ok_or_else(|| {
                corrupt(format!(
                    "its list of members gives a wrong place for {name}"
                ))
            })?;
        Ok(Member::new(&self.path, &self.file, entry, start))
    }
}
