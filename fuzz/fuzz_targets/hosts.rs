//! A hosts file.
#![no_main]
use fuzz::path;
use hubbleflow::cluster::read_hosts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = path("hosts");
    std::fs::write(&file, data).expect("there is room");
    let _ = read_hosts(&file);
});
