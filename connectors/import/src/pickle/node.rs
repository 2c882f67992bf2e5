//! The values of a pickle.
//!
//! A node refers to other nodes by number. So shared and circular objects need no special care, and an object is held
//! once, however often the pickle names it.

use std::fmt;

/// The number of a node.
pub(crate) type Id = u32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    /// Bytes. Their content is not needed.
    Bytes,
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    /// A class or a function: the text nodes of its module and its name.
    Global(Id, Id),
    /// The result of a call that is recorded and not made.
    Object(Box<RecordedCall>),
    /// An object outside of the pickle, by its persistent id.
    Persistent(Id),
}

/// A call that is recorded, with the changes to its result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordedCall {
    pub(crate) callable: Id,
    pub(crate) args: Id,
    /// The items that are appended to the result.
    pub(crate) items: Vec<Id>,
    /// The entries that are set in the result.
    pub(crate) entries: Vec<(Id, Id)>,
    /// The attributes, as `__setstate__` would receive them.
    pub(crate) state: Option<Id>,
}

/// The name of a class or a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Global<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

impl Global<'_> {
    /// Whether this is `module.name`.
    pub(crate) fn is(&self, full: &str) -> bool {
        let name = full.strip_prefix(self.module);
        name.and_then(|name| name.strip_prefix('.')) == Some(self.name)
    }

    /// The name within `module`, or `None` if it belongs to another module.
    pub(crate) fn name_in(&self, module: &str) -> Option<&str> {
        (self.module == module).then_some(self.name)
    }
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}
