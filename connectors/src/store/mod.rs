//! Object stores: from a URL to a place in a store.
//!
//! ```text
//! location ── scheme ── environment ── options, aws_profile, answers
//! object_ref, etag
//! ```
mod answers;
mod aws_profile;
mod environment;
pub mod etag;
pub mod location;
pub mod object_ref;
pub mod options;
pub mod scheme;
