//! An output with a committed drop that no fault may harm.
use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    galaxy_rows::write_good_drop,
    outputs::{committed, drops, staged_files},
    program::Program,
    survey::run_catalog,
    tree::{Tree, folder},
};

/// A catalog and an output into which `drop-1` is committed. The test then adds a fault.
pub struct ProtectedOutput {
    pub catalog: TempDir,
    pub out: TempDir,
    before: Tree,
}

impl ProtectedOutput {
    #[expect(clippy::new_without_default, reason = "it runs the program")]
    pub fn new() -> Self {
        let (catalog, out) = (folder(), folder());
        write_good_drop(catalog.path(), "drop-1", 100);
        run_catalog(&catalog, &out).ends(0);
        let before = committed(out.path());
        assert!(!before.is_empty());
        Self {
            catalog,
            out,
            before,
        }
    }

    /// The path of a drop in the catalog.
    pub fn drop(&self, name: &str) -> PathBuf {
        self.catalog.path().join(name)
    }

    /// Runs the catalog into the output.
    pub fn run(&self) -> Program {
        run_catalog(&self.catalog, &self.out)
    }

    /// Asserts that `drop-1` is unchanged, that the ledger has these drops, and that nothing is staged.
    #[track_caller]
    pub fn holds(&self, names: &[&str]) {
        let now = committed(self.out.path());
        let lost: Vec<_> = self
            .before
            .iter()
            .filter(|(name, bytes)| now.get(*name) != Some(bytes))
            .map(|(name, _)| name)
            .collect();
        assert!(
            lost.is_empty(),
            "committed files were lost or changed: {lost:?}"
        );
        assert_eq!(drops(self.out.path()), names);
        let staged = staged_files(self.out.path());
        assert!(staged.is_empty(), "staged files were left behind");
    }
}

/// Runs a catalog whose second of three drops is bad. That drop fails with these words and holds back no other drop.
/// Then the drop is replaced by a good one, and the next run commits it.
#[track_caller]
pub fn assert_one_bad_drop_fails(spoil: impl FnOnce(&Path), words: &[&str]) {
    let protected = ProtectedOutput::new();
    spoil(&protected.drop("drop-2"));
    write_good_drop(protected.catalog.path(), "drop-3", 300);
    let ended = protected.run().with("--json").ends(3);
    ended.says(&["drop-2: FAILED"]);
    ended.says(words);
    let json = ended.json();
    assert_eq!(
        (&json["drops_committed"], &json["drops_failed"]),
        (&1.into(), &1.into())
    );
    protected.holds(&["drop-1", "drop-3"]);
    fs::remove_dir_all(protected.drop("drop-2")).unwrap();
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    protected.run().ends(0);
    protected.holds(&["drop-1", "drop-3", "drop-2"]);
}
