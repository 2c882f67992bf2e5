//! An entry of the ledger and a file of metrics.
#![no_main]
use connectors::{
    Ledger, Output,
    committed::{files_of, kept, replaced_since, standing},
};
use fuzz::{place, runtime, two};
use libfuzzer_sys::fuzz_target;
use operators::publish;

const ENTRY: &str = "_hubbleflow/ledger/00000000000000000001.json";

fuzz_target!(|data: &[u8]| {
    let (entry, metrics) = two(data);
    runtime().block_on(async {
        let location = place(&[(ENTRY, entry)]).await;
        let output = Output::new(location);
        if let Ok(metrics) = publish::parse(&output, 1, metrics) {
            let _ = metrics.to_json();
        }
        let Ok(mut ledger) = Ledger::open(output.location()).await else {
            return;
        };
        for entry in standing(ledger.entries(), u64::MAX).into_values() {
            let _ = (
                files_of(entry),
                entry.rows.balance(),
                replaced_since(&ledger, 1),
            );
        }
        let _ = kept(&ledger);
        let _ = output.recover(&mut ledger, "fuzz").await;
    });
});
