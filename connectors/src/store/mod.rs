//! Object stores: opens the store of a URL, and addresses objects in it.
//!
//! ```text
//! location      a place in a store, from its URL
//! scheme        which URLs are known, and which part of a URL may be printed
//! environment   opens a remote store with its options; aws_profile adds options; answers finds hidden errors
//! object_ref    an object as it was listed; etag compares versions of an object
//! ```
mod answers;
mod aws_profile;
mod environment;
pub mod etag;
pub mod location;
pub mod object_ref;
pub mod options;
pub mod scheme;
