//! A file of settings, and values as users write them.
#![no_main]
use connectors::galaxy::ColumnNames;
use engine::{
    settings::{Bytes, While},
    train::Interval,
};
use fuzz::path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = path("settings");
    std::fs::write(&file, data).expect("there is room");
    let _ = engine::cli::fuzz_settings(&file);
    let text = String::from_utf8_lossy(data).into_owned();
    if let Ok(Bytes(bytes)) = text.parse() {
        let _ = Bytes(bytes)
            .to_string()
            .parse::<Bytes>()
            .expect("what is shown is read");
    }
    let _ = (text.parse::<While>(), text.parse::<Interval>());
    let _ = ColumnNames::parse(&[text]);
});
