//! A settings file, and values that users write.
#![no_main]
use connectors::galaxy::ColumnNames;
use fuzz::path;
use hubbleflow::{
    train::Interval,
    units::{HumanBytes, HumanDuration},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = path("settings");
    std::fs::write(&file, data).expect("there is room");
    let _ = cli::fuzz_settings(&file);
    let text = String::from_utf8_lossy(data).into_owned();
    if let Ok(HumanBytes(bytes)) = text.parse() {
        let _ = HumanBytes(bytes)
            .to_string()
            .parse::<HumanBytes>()
            .expect("a displayed size can be parsed");
    }
    let _ = (text.parse::<HumanDuration>(), text.parse::<Interval>());
    let _ = ColumnNames::parse(&[text]);
});
