//! Trees of files: reads, writes, copies and compares them.
use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use tempfile::TempDir;

/// The files below a folder: their names, with slashes, and their bytes.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// A path as an argument of the program.
pub fn text(path: &Path) -> String {
    path.to_str()
        .expect("the paths of tests are UTF-8")
        .to_owned()
}

/// Makes a temporary folder for one test.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

/// Reads all files below a folder. A folder that does not exist has no files. A file that is gone when it is to be read is
/// left out: a program that writes meanwhile gives it another name.
pub fn tree(folder: &Path) -> Tree {
    let mut files = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("a folder can be listed").path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = match fs::read(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    read => read.expect("a file can be read"),
                };
                let name = path.strip_prefix(folder);
                let name = text(name.expect("the file was found below the folder"));
                files.insert(name, bytes);
            }
        }
    }
    files
}

/// Copies a folder.
pub fn copy_tree(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        write_file(to.join(name), bytes);
    }
}

/// Writes a file, and makes the folders above it.
pub fn write_file(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))
        .expect("folders can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// Asserts that two trees are equal, and names the files that differ.
#[track_caller]
pub fn assert_same(left: &Tree, right: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right), "the trees have different files");
    let different: Vec<_> = left
        .iter()
        .filter(|(name, bytes)| right[*name] != **bytes)
        .map(|(name, _)| name)
        .collect();
    assert!(
        different.is_empty(),
        "these files have different bytes: {different:?}"
    );
}
