//! Galaxy records in, photometric redshifts out: Parquet catalogs, drops, splits, the sink and the ledger.

pub mod galaxy;
