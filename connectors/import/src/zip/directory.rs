//! The list of members at the end of a zip archive.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::little_endian::LittleEndian;

/// Size of the end-of-archive record without its comment.
const END_LEN: u64 = 22;
/// Upper bound on the length of the archive's comment.
const COMMENT_LEN_MAX: u64 = 65_535;

/// An entry of the list.
pub(super) struct MemberRecord {
    pub(super) name: String,
    pub(super) is_deflated: bool,
    /// The offset of the local header in the file.
    pub(super) header_at: u64,
    /// The size in the file.
    pub(super) packed: u64,
    /// The size when unpacked.
    pub(super) size: u64,
    /// The CRC-32 of the unpacked bytes.
    pub(super) checksum: u32,
}

/// The bytes of a range of a file.
pub(super) fn read_at(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// The range of the list of members, or `None` if the file has no end-of-archive record.
pub(super) fn find_directory(file: &File, bytes: u64) -> io::Result<Option<Range<u64>>> {
    let tail_at = bytes.saturating_sub(END_LEN + COMMENT_LEN_MAX);
    let tail = read_at(file, tail_at..bytes)?;
    let Some(end) = tail.windows(4).rposition(|four| four == b"PK\x05\x06") else {
        return Ok(None);
    };
    let fields = LittleEndian(&tail[end..]);
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

/// The length and offset of the list of members in the zip64 records, which precede the end-of-archive record.
fn zip64_end(file: &File, end_at: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(locator_at) = end_at.checked_sub(20) else {
        return Ok(None);
    };
    let locator = read_at(file, locator_at..end_at)?;
    let (Some(0x0706_4b50), Some(record_at)) =
        (LittleEndian(&locator).u32(0), LittleEndian(&locator).u64(8))
    else {
        return Ok(None);
    };
    if record_at.checked_add(56).is_none_or(|end| end > locator_at) {
        return Ok(None);
    }
    let record = read_at(file, record_at..record_at + 56)?;
    let fields = LittleEndian(&record);
    Ok(match (fields.u32(0), fields.u64(40), fields.u64(48)) {
        (Some(0x0606_4b50), Some(len), Some(at)) => Some((len, at)),
        _ => None,
    })
}

/// The members, or `None` if the list is damaged or a member is encrypted or not stored or deflated.
pub(super) fn parse_directory(mut bytes: &[u8]) -> Option<Vec<MemberRecord>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let fields = LittleEndian(bytes);
        let (name_len, extra_len) = (usize::from(fields.u16(28)?), usize::from(fields.u16(30)?));
        let len = 46 + name_len + extra_len + usize::from(fields.u16(32)?);
        let (flags, method) = (fields.u16(8)?, fields.u16(10)?);
        if fields.u32(0)? != 0x0201_4b50 || flags & 1 != 0 || !matches!(method, 0 | 8) {
            return None;
        }
        let extra = bytes.get(46 + name_len..46 + name_len + extra_len)?;
        let mut wide = LittleEndian(zip64_extra(extra).unwrap_or_default()).all_u64();
        // A field with all bits set is in the zip64 extra field, in this order.
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
        entries.push(MemberRecord {
            name: String::from_utf8_lossy(bytes.get(46..46 + name_len)?).into_owned(),
            is_deflated: method == 8,
            header_at,
            packed,
            size,
            checksum: fields.u32(16)?,
        });
        bytes = bytes.get(len..)?;
    }
    Some(entries)
}

/// The zip64 field among the extra fields.
fn zip64_extra(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (id, len) = (
            LittleEndian(extra).u16(0)?,
            usize::from(LittleEndian(extra).u16(2)?),
        );
        let (field, rest) = extra.get(4..)?.split_at_checked(len)?;
        if id == 1 {
            return Some(field);
        }
        extra = rest;
    }
}
