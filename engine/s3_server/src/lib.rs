//! An S3 server in this process, over a folder. It is for the demo and the tests, not for valuable data.
//!
//! A bucket is a folder of the root, and an object is a file in the bucket. The server guarantees what the engine relies
//! on:
//! - Of several clients that create the same object, exactly one succeeds.
//! - A listing is sorted by key, in pages of a thousand keys.
//! - Requests without the keys are refused.
//!
//! Differences from S3:
//! - An object cannot have the name of the folder of another object (`a` and `a/b`).
//! - Keys longer than about 160 bytes are refused.
//! - A listing has no ETags. A `HEAD` request returns the ETag; for a file that was changed in the folder itself, the
//!   ETag is out of date.

mod access_rules;
mod connections;
mod request_handler;
mod server;
#[cfg(test)]
mod tests;

pub use server::S3Server;
