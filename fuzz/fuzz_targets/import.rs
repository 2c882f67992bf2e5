//! Pickles of PyTorch, arrays of numpy, and archives, imported as a drop and as a network.
#![no_main]
use fuzz::{path, place, runtime, zip};
use import::{ImportSettings, Without, import_images, weights};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let numbers = [0; 4096];
    let archive = match kind % 3 {
        0 => data.to_vec(),
        1 => zip(&[
            ("a/data.pkl", data),
            ("a/data/0", &numbers),
            ("a/data/1", &numbers),
            ("a/data/2", &numbers),
        ]),
        _ => zip(&[("cutout.npy", data)]),
    };
    let file = path("archive");
    std::fs::write(&file, archive).expect("there is room");
    let _ = weights(&file);
    let settings = ImportSettings {
        first_id: Some(0),
        without: vec![Without::Positions, Without::Mags],
        ..ImportSettings::default()
    };
    runtime().block_on(async {
        let mut drop = place(&[]).await;
        drop.prefix = "catalog/drop".into();
        let _ = import_images(&drop, &[file], &settings, |_, _| {}).await;
    });
});
