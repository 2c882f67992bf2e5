//! `config.json` and a file of weights.
#![no_main]
use fuzz::{path, two};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (config, weights) = two(data);
    let dir = path("model");
    std::fs::create_dir_all(&dir).expect("there is room");
    std::fs::write(dir.join("config.json"), config).expect("there is room");
    std::fs::write(dir.join("model.safetensors"), weights).expect("there is room");
    let _ = models::inspect(&dir);
    let _ = models::train::pretrained(&dir);
});
