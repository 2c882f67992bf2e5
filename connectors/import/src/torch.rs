//! Reads what `torch.save` writes: tensors by name or position, and the tensors of modules.
//!
//! A file is a zip archive with the object (`data.pkl`) and the storages (`data/…`, not compressed). The object is read
//! as data ([`pickle`](crate::pickle)): no class is looked up and nothing is called. A file of tensors may name only the
//! classes that tensors are made of. Of a module of any class, `_parameters`, `_buffers` and `_modules` are read.

mod dataset;
mod file;
mod network;

pub(crate) use dataset::arrays;
pub use network::{Weights, weights};

#[cfg(test)]
mod tests;
