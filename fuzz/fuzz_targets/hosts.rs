//! A file of hosts.
#![no_main]
use engine::{cluster::Cluster, settings::RunArgs};
use fuzz::path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = path("hosts");
    std::fs::write(&file, data).expect("there is room");
    let mut args = RunArgs::new("survey", "photoz", "model");
    (args.processes, args.process, args.hosts) = (Some(2), Some(1), Some(file));
    if let Ok(cluster) = Cluster::new(&args) {
        let _ = cluster.processes_here();
    }
});
