//! Reads what `numpy.savez` and `numpy.savez_compressed` write: arrays by name.
//!
//! A `.npz` file is a zip archive of `.npy` members, stored or deflated. A `.npy` member is a header, which is a Python
//! dict as text, and then the elements. Versions 1 to 3, both byte orders, and C and Fortran order are read. Each field of
//! a record array becomes an array: the field `z` of `labels` becomes `labels.z`. Arrays of Python objects are pickles and
//! are not read.
//!
//! Format: NumPy Enhancement Proposal 1, and `numpy.lib.format`.

mod header;
mod literal;

use crate::error::ImportError;
use crate::named_arrays::{FIELDS_MAX, NamedArrays};
use crate::zip::{Archive, Member};
use header::NpyHeader;

/// Upper bound on the size of a header. numpy itself refuses headers above 10,000 bytes.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// The arrays of a `.npz` file.
pub(crate) fn arrays(archive: Archive) -> Result<NamedArrays, ImportError> {
    let names = archive.names().filter(|name| name.ends_with(".npy"));
    let names: Vec<String> = names.take(FIELDS_MAX + 1).map(str::to_owned).collect();
    if names.len() > FIELDS_MAX {
        let reason = format!("it has more than {FIELDS_MAX} arrays");
        return Err(ImportError::unsupported(archive.path(), reason));
    }
    let mut arrays = NamedArrays::default();
    for name in names {
        let mut member = archive.member(&name)?;
        let header = read_header(&mut member)?;
        let array_name = name.strip_suffix(".npy").unwrap_or(&name);
        if header.element.has_objects() {
            arrays.objects.push(array_name.to_owned());
        } else {
            header
                .fields(array_name, arrays.members.len(), &mut arrays.fields)
                .map_err(|reason| ImportError::unsupported(archive.path(), reason))?;
            // The headers of all members together could take more memory than the file.
            member.release();
            arrays.members.push(member);
        }
    }
    Ok(arrays)
}

fn read_header(member: &mut Member) -> Result<NpyHeader, ImportError> {
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
                "it does not begin like a .npy file of a known version",
            ));
        }
    };
    if len > HEADER_BYTES_MAX {
        return Err(damaged(member, "its header is too long"));
    }
    let text = member.read(at..at + len)?;
    let text = String::from_utf8_lossy(text).into_owned();
    NpyHeader::parse(&text, at + len).map_err(|reason| damaged(member, &reason))
}
