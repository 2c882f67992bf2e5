use std::path::Path;

use super::file::{TorchFile, whole};
use crate::pickle::Pickle;
use crate::zip::Archive;
use proptest::prelude::*;

/// A file written by PyTorch, with a few bytes of its object changed.
fn changed(file: &str, changes: &[(prop::sample::Index, u8)]) -> Option<TorchFile> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    let file = TorchFile::open(Archive::open(&path).unwrap()).unwrap();
    let pickle = file.archive.member(&format!("{}data.pkl", file.folder));
    let mut bytes = whole(&mut pickle.unwrap()).unwrap().to_vec();
    for (place, byte) in changes {
        let at = place.index(bytes.len());
        bytes[at] = *byte;
    }
    let pickle = Pickle::parse(&bytes).ok()?;
    Some(TorchFile { pickle, ..file })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_damaged_object_never_panics(
        is_dataset in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let file = if is_dataset { "pytorch-2.11-dataset.pt" } else { "pytorch-2.11-module.pt" };
        if let Some(file) = changed(file, &changes) {
            let _ = file.weights();
            if let Ok(mut table) = file.arrays() {
                for field in 0..table.fields.len() {
                    let array = table.fields[field].1.clone();
                    if array.check(table.members[array.member].size()).is_ok() {
                        let _ = table.read(field, 0..array.rows());
                    }
                }
            }
        }
    }
}
