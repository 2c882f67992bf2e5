//! Checkpoints: results of splits, stored before their drop is committed.
//!
//! A drop may take hours. The results of its splits are stored as they come, so that a crash loses seconds. The next try
//! at the drop *adopts* them: it reads the results instead of the rows. Results that do not fit into memory while their
//! drop goes on are put away in the same way.
//!
//! ```text
//! OUT/_hubbleflow/checkpoints/<drop>/<began, 20 digits>-<digest>-<attempt>-<number>      see `format`
//! ```
//! `digest` is a hash of the model, the settings and the version of the engine. `began` is the number that the ledger's
//! next entry had when the attempt began. If the drop has an entry with this number or a later one, the checkpoint is
//! useless.
mod adopted;
mod format;
mod planned;
mod store;
mod sweep;

pub use adopted::{Adopted, StoredSplits, Task, Work, rows_stored};
pub use format::SplitResult;
pub use planned::PlannedDrop;
pub use store::{Checkpoint, Checkpoints, Encoded, Found, StoredPart, digest};
pub use sweep::ListedCheckpoints;
