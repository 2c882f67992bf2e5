//! What an output on local files holds: committed files, metrics, and the entries of its ledger.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::tree::{Tree, tree};

/// The files of an output that readers see: all files outside `_hubbleflow/`.
pub fn committed(out: &Path) -> Tree {
    let mut files = tree(out);
    files.retain(|name, _| !name.starts_with("_hubbleflow/"));
    files
}

/// The files of an output that readers see, and its metrics files.
pub fn committed_with_metrics(out: &Path) -> Tree {
    let mut files = committed(out);
    files.extend(metrics_files(out));
    files
}

/// The metrics files of an output.
pub fn metrics_files(out: &Path) -> Tree {
    let mut files = tree(out);
    files.retain(|name, _| name.starts_with("_hubbleflow/metrics/"));
    files
}

/// The files of an output that are staged and not published.
pub fn staged_files(out: &Path) -> Tree {
    tree(&out.join("_hubbleflow/staging"))
}

/// The paths of the checkpoints of an output, below the output.
pub fn checkpoints(out: &Path) -> BTreeSet<String> {
    // A local store writes beside the name first.
    let stored = tree(&out.join("_hubbleflow/checkpoints")).into_keys();
    let stored = stored.filter(|name| !name.contains('#'));
    stored
        .map(|name| format!("_hubbleflow/checkpoints/{name}"))
        .collect()
}

/// The entries of the ledger, in order. A run may be writing the next entry meanwhile: it is ignored until it is whole.
pub fn ledger(out: &Path) -> Vec<Value> {
    let Ok(listed) = fs::read_dir(out.join("_hubbleflow/ledger")) else {
        return Vec::new();
    };
    let mut entries: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    entries.retain(|entry| entry.extension().is_some_and(|kind| kind == "json"));
    entries.sort();
    let parse = |entry| serde_json::from_slice(&fs::read(entry).unwrap());
    let entries = entries.into_iter().map(parse);
    entries.collect::<Result<_, _>>().expect("an entry is JSON")
}

/// The names of the committed drops, sorted. A drop that is committed twice comes twice.
pub fn committed_drops(out: &Path) -> Vec<String> {
    let mut names = drops(out);
    names.retain(|name| !name.is_empty());
    names.sort();
    names
}

/// The drops of the ledger's entries, in order. An entry without a drop gives an empty name.
pub fn drops(out: &Path) -> Vec<String> {
    ledger(out)
        .iter()
        .map(|entry| entry["drop"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The paths of an entry's files, below the output.
pub fn entry_files(entry: &Value) -> Vec<&str> {
    let files = entry["files"].as_array().into_iter().flatten();
    files.filter_map(|file| file["path"].as_str()).collect()
}
