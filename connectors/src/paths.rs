//! The paths of the files of an output. All paths are relative to the output.
//!
//! ```text
//! photoz/<drop>/part-0000-<8 digits of the SHA-256>.parquet     predictions; specz/ and rejects/ alike
//! _hubbleflow/ledger/<sequence, 20 digits>.json                 one entry of the ledger
//! _hubbleflow/compacted/<entries>/<last sequence>.jsonl         copies of many entries
//! _hubbleflow/metrics/<sequence, 20 digits>.json                the metrics up to an entry
//! _hubbleflow/staging/<attempt>/<path>                          a file that is not committed yet
//! _hubbleflow/checkpoints/<drop>/<name>                         results of splits of a drop that is not committed yet
//! _hubbleflow/rendezvous/<number, 20 digits>.json                where the leader of a cluster can be reached
//! _hubbleflow/check-<nonce>                                     a probe of the store, deleted at once
//! ```

/// Predicted and withdrawn rows.
pub const PHOTOZ: &str = "photoz";
/// Spec-z for the metrics.
pub const SPECZ: &str = "specz";
/// Rejected rows.
pub const REJECTS: &str = "rejects";
/// Predicted and withdrawn rows with embeddings. The folder is a catalog.
pub const EMBEDDINGS: &str = "embeddings";
/// The folders that may hold files of a drop.
pub const DROP_FOLDERS: [&str; 4] = [PHOTOZ, SPECZ, REJECTS, EMBEDDINGS];
/// The entries of the ledger.
pub const LEDGER: &str = "_hubbleflow/ledger";
/// Copies of many entries.
pub const COMPACTED: &str = "_hubbleflow/compacted";
/// Metrics.
pub const METRICS: &str = "_hubbleflow/metrics";
/// Results of splits of drops that are not committed yet.
pub const CHECKPOINTS: &str = "_hubbleflow/checkpoints";
/// Hex digits of the digest in the name of a checkpoint.
pub(crate) const DIGEST_DIGITS: usize = 16;
/// Files of attempts that are not committed yet.
pub const STAGING: &str = "_hubbleflow/staging";

/// Where the processes of a cluster meet.
pub const RENDEZVOUS: &str = "_hubbleflow/rendezvous";

/// The path of an entry of the ledger.
/// ```
/// assert_eq!(hubbleflow_connectors::paths::entry(3), "_hubbleflow/ledger/00000000000000000003.json");
/// ```
pub fn entry(sequence: u64) -> String {
    format!("{LEDGER}/{sequence:020}.json")
}

/// Whether a file of the ledger's folder is an entry, by its name. Other files there are ignored.
/// ```
/// assert!(hubbleflow_connectors::paths::is_entry("00000000000000000003.json"));
/// assert!(!hubbleflow_connectors::paths::is_entry("notes.json"));
/// ```
pub fn is_entry(name: &str) -> bool {
    let number = name.strip_suffix(".json");
    number.is_some_and(|number| {
        number.len() == 20 && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The path of a copy of `size` entries, the last of which has the number `last`.
pub(crate) fn entry_copy(size: u64, last: u64) -> String {
    format!("{COMPACTED}/{size}/{last:020}.jsonl")
}

/// The path of the metrics up to an entry.
/// ```
/// assert_eq!(hubbleflow_connectors::paths::metrics(3), "_hubbleflow/metrics/00000000000000000003.json");
/// ```
pub fn metrics(sequence: u64) -> String {
    format!("{METRICS}/{sequence:020}.json")
}

/// The path of a staged file of an attempt. `path` is the path at which the file will be published.
/// ```
/// let path = hubbleflow_connectors::paths::staged("7", "photoz/night-1/part.parquet");
/// assert_eq!(path, "_hubbleflow/staging/7/photoz/night-1/part.parquet");
/// ```
pub fn staged(attempt: &str, path: &str) -> String {
    format!("{STAGING}/{attempt}/{path}")
}

/// The folder of the checkpoints of a drop.
pub(crate) fn checkpoints_of(drop: &str) -> String {
    format!("{CHECKPOINTS}/{drop}")
}

/// The path of a checkpoint of an attempt that began when the ledger was at `began`. `number` tells apart the checkpoints
/// of the attempt.
pub(crate) fn checkpoint(
    drop: &str,
    began: u64,
    digest: &str,
    attempt: &str,
    number: &str,
) -> String {
    format!("{CHECKPOINTS}/{drop}/{began:020}-{digest}-{attempt}-{number}")
}

/// What the name of a checkpoint says: the number that its attempt began at, and the digest.
pub(crate) fn parse_checkpoint(name: &str) -> Option<(u64, &str)> {
    let (began, rest) = name.split_once('-')?;
    let (digest, _) = rest.split_once('-')?;
    let is_number = began.len() == 20 && began.bytes().all(|digit| digit.is_ascii_digit());
    let began = began.parse().ok().filter(|_| is_number)?;
    (digest.len() == DIGEST_DIGITS).then_some((began, digest))
}

/// The path of the probe by which a store is checked.
pub(crate) fn check(nonce: &str) -> String {
    format!("_hubbleflow/check-{nonce}")
}

/// The path of a part of a drop in `folder`, named by the SHA-256 of its bytes.
pub(crate) fn part(folder: &str, drop: &str, part: u32, sha256: &str) -> String {
    format!("{folder}/{drop}/part-{part:04}-{:.8}.parquet", sha256)
}
