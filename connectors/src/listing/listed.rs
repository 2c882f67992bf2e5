//! What a listing asks for and what it shows.
use std::collections::HashSet;

use object_store::ObjectMeta;

/// The result of a listing.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// Names that cannot be read as objects.
    pub faults: Vec<Fault>,
}

/// A name that cannot be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where it lies below the place, with what cannot be printed escaped.
    pub path: String,
    /// Why it cannot be taken, and what to do about it.
    pub reason: String,
}

/// Which part of a place is listed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    /// All of it.
    All,
    /// One child: an object, or a folder with all below it.
    Child(&'a str),
    /// The children whose names are not known yet; where the store lists in order, those after the last known name alone.
    New(&'a HashSet<String>),
}
