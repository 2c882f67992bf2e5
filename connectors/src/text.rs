//! Reads small text files that a user names: settings, hosts, profiles.
use std::{fs::File, io, io::Read, path::Path};

/// Reads a text file of at most `bytes_max`. No more bytes are read into memory, even if the file is a device.
///
/// # Errors
/// Errors of the system, or a message if the file is too long or is not UTF-8.
pub fn read_text(file: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let reason = format!("it has more than {bytes_max} bytes; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    String::from_utf8(bytes).map_err(|_| {
        let reason = "it is not UTF-8 text; is it the right file?";
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read_text(Path::new("/dev/zero"), 1000).unwrap_err();
        assert!(error.to_string().contains("more than 1000 bytes"));
    }

    #[test]
    fn a_file_of_just_the_bound_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
        assert!(read_text(file.path(), 4).is_err());
    }
}
