//! The key that the processes of a cluster share.
use std::{fmt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use connectors::text::read_text;

use crate::{Error, SettingsError};

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Upper bound on the size of a key file.
const FILE_BYTES_MAX: u64 = 1 << 10;

/// The key that the processes of a cluster share: 32 random bytes, written in base64. A process with the key may
/// join.
///
/// Only [`ClusterKey::to_base64`] shows the key.
/// ```
/// use hubbleflow::cluster::ClusterKey;
///
/// let key = ClusterKey::generate()?;
/// let file = tempfile::NamedTempFile::new().expect("a file");
/// std::fs::write(file.path(), key.to_base64()).expect("room for a line");
/// assert_eq!(ClusterKey::read(file.path())?.to_base64(), key.to_base64());
/// assert_eq!(format!("{key:?}"), "ClusterKey(…)");
/// # Ok::<(), hubbleflow::Error>(())
/// ```
#[derive(Clone)]
pub struct ClusterKey([u8; KEY_BYTES]);

impl ClusterKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::Io`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::io("the system gives no random numbers", error.into()))?;
        Ok(Self(bytes))
    }

    /// Reads the key in a file.
    ///
    /// # Errors
    /// [`SettingsError`] for a file that cannot be read, or that holds no key. The message never shows the content of the file.
    pub fn read(file: &Path) -> Result<Self, SettingsError> {
        let text =
            read_text(file, FILE_BYTES_MAX).map_err(|source| SettingsError::ClusterKeyFile {
                file: file.to_owned(),
                source,
            })?;
        let bytes = STANDARD.decode(text.trim()).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or_else(|| SettingsError::ClusterKey {
            file: file.to_owned(),
        })
    }

    /// The key in base64, as a file holds it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "c2VjcmV0", "secret secret", &"A".repeat(2000)] {
            std::fs::write(file.path(), text).unwrap();
            let error = ClusterKey::read(file.path()).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(text.is_empty() || !said.contains(text), "{said}");
        }
    }
}
