//! Checkpoints: results of splits, stored before their drop is committed.
//!
//! A drop may take hours. The results of its splits are stored as they come, so that a crash loses seconds. The next try
//! at the drop *adopts* them: it reads the results instead of the rows. Results that do not fit into memory while their
//! drop goes on are put away in the same way.
//!
//! ```text
//! OUT/_hubbleflow/checkpoints/<drop>/<began, 20 digits>-<digest>-<attempt>-<number>      see `format`
//! ```
//! `digest` is a hash of all that results depend on beside the rows: the model, the settings and the engine. `began` is
//! the number the ledger was at when the attempt began: what began before the drop was committed is of no use any more.
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
