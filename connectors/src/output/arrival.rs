//! Checks that files have arrived, and that the paths of a drop's files are allowed.
//!
//! A store may report success without writing, and a ledger may have been edited by hand. So each written file is looked
//! up, and nothing is written or deleted outside the folders of a drop or behind a symbolic link.
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::{
    Error, Location,
    ledger::entry::{Entry, FileRecord, checksum},
    paths::DROP_FOLDERS,
};

impl Entry {
    /// Whether a file of this entry may have this path. It must be below a folder of the entry's drop.
    pub fn may_list(&self, path: &str) -> bool {
        let mut names = path.split('/');
        let folder = names.next();
        let drop = names.next();
        let rest: Vec<&str> = names.collect();
        folder.is_some_and(|folder| DROP_FOLDERS.contains(&folder))
            && drop == Some(&self.drop)
            && is_plain(&self.drop)
            && !rest.is_empty()
            && rest.into_iter().all(is_plain)
    }

    /// Makes sure that all files of this entry are below the folders of its drop.
    ///
    /// # Errors
    /// [`Error::Ledger`] naming the path.
    pub(crate) fn check_paths(&self, output: &Location) -> Result<(), Error> {
        match self.paths().find(|path| !self.may_list(path)) {
            None => Ok(()),
            Some(path) => Err(Error::Ledger {
                object: output.url.clone(),
                reason: format!(
                    "the ledger's entry of drop {} lists the file {path:?}, which is not in a folder of this drop; the file is left alone: restore the entry from a backup, or take the drop in again (run --drop NAME --again)",
                    self.drop
                ),
            }),
        }
    }
}

/// Whether a name is the plain name of a file or folder, without separators and without `..`.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

impl Location {
    /// Looks up an object. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn find(&self, relative: &str) -> Result<Option<ObjectMeta>, Error> {
        match self.store.head(&self.path(relative)?).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::store(self.url_of(relative), source)),
        }
    }

    /// Makes sure that a copy of a file is complete. The size is compared. If the checksums of the store differ, the bytes are
    /// compared too, because the checksums of encrypted objects always differ.
    ///
    /// # Errors
    /// [`Error::NotWritten`], or errors of the store.
    pub(crate) async fn check_copy(&self, from: &str, to: &FileRecord) -> Result<(), Error> {
        let lost = |found| self.not_written(&to.path, found, to.bytes);
        let copy = self.find(&to.path).await?.ok_or_else(|| lost(None))?;
        if copy.size != to.bytes {
            return Err(lost(Some(copy.size)));
        }
        let original = self.find(from).await?;
        let sums = original.as_ref().and_then(md5).zip(md5(&copy));
        if sums.is_none_or(|(from, to)| from == to) {
            return Ok(());
        }
        match checksum(&self.read(&to.path).await?) == to.sha256 {
            true => Ok(()),
            false => Err(Error::NotWritten {
                object: self.url_of(&to.path),
                reason: "holds other bytes".to_owned(),
            }),
        }
    }

    /// The error for an object that the store has confirmed, but that is missing or has a wrong size.
    pub(crate) fn not_written(&self, relative: &str, found: Option<u64>, bytes: u64) -> Error {
        let object = self.url_of(relative);
        let reason = match found {
            None => "is not there".to_owned(),
            Some(found) => format!("has {found} bytes of {bytes}"),
        };
        Error::NotWritten { object, reason }
    }

    /// Makes sure that no folder in the path of an object of this machine is a symbolic link.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub(crate) async fn check_no_link(&self, relative: &str) -> Result<(), Error> {
        let Some(mut path) = self.folder.clone() else {
            return Ok(());
        };
        for name in relative.split('/') {
            path.push(name);
            let found = tokio::fs::symlink_metadata(&path).await;
            if found.is_ok_and(|found| found.is_symlink()) {
                return Err(Error::Link {
                    object: path.display().to_string(),
                });
            }
        }
        Ok(())
    }
}

/// The MD5 of an object, if its ETag is an MD5.
fn md5(meta: &ObjectMeta) -> Option<&str> {
    let etag = meta.e_tag.as_deref()?.trim_matches('"');
    let is_md5 = etag.len() == 32 && etag.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_md5.then_some(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lists_files_of_its_drop_alone() {
        let entry = |drop: &str| Entry {
            drop: drop.to_owned(),
            ..Entry::abandoned("attempt", "0")
        };
        let good = ["photoz/a/x", "specz/a/x", "rejects/a/x", "embeddings/a/x"];
        assert!(good.iter().all(|path| entry("a").may_list(path)));
        for path in [
            "photoz/b/x",
            "photoz/a",
            "photoz/a/",
            "photoz/a/../b/x",
            "../x",
            "/photoz/a/x",
            "photoz//a/x",
            "_hubbleflow/ledger/00000000000000000001.json",
            "_hubbleflow/a/x",
            "",
        ] {
            assert!(!entry("a").may_list(path), "{path}");
        }
        assert!(!entry("..").may_list("photoz/../x"));
        assert!(!entry("../_hubbleflow").may_list("photoz/../_hubbleflow/x"));
        assert!(!entry("").may_list("photoz//x"));
    }
}
