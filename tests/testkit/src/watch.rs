//! Runs of `hubbleflow watch`: its start, its drops, and its end.
use std::path::Path;

use crate::{
    galaxy_rows::{galaxies_with_ids, int64, parquet_bytes},
    outputs::{drops, entry_files, ledger},
    processes::wait_until,
    program::Program,
    running::Running,
    survey::model,
    tree::text,
};

/// A Parquet file of four galaxies, whose ids count up from `first_id`.
pub fn four_galaxies(first_id: i64) -> Vec<u8> {
    parquet_bytes(&galaxies_with_ids(int64(first_id..first_id + 4)), 100)
}

/// A watch that looks at its catalog every 50 ms.
pub fn watch_catalog(catalog: impl AsRef<Path>, out: impl AsRef<Path>) -> Program {
    let (catalog, out) = (text(catalog.as_ref()), text(out.as_ref()));
    Program::on("watch", &catalog, &out, model()).with("--poll 50ms --threads 1 --json")
}

/// Waits until the ledger has at least `count` entries.
#[track_caller]
pub fn wait_until_committed(out: &Path, count: usize) {
    wait_until("the drops are committed", || drops(out).len() >= count);
}

/// Waits until the ledger has at least `count` entries, and the files of all entries are where readers look for them: an
/// entry is written first, and its files are published after it.
#[track_caller]
pub fn wait_until_published(out: &Path, count: usize) {
    wait_until("the drops are published", || {
        let entries = ledger(out);
        let mut files = entries.iter().flat_map(entry_files);
        entries.len() >= count && files.all(|file| out.join(file).exists())
    });
}

/// Ends a watch by a signal. Returns the number of drops that it has committed.
#[track_caller]
pub fn stop_watch(watch: Running) -> u64 {
    watch.signal("TERM");
    let ended = watch.ends(0);
    ended.says(&["SIGTERM: ending"]);
    ended.json()["drops_committed"].as_u64().unwrap()
}
