//! Reads a pickle as plain data. Calls are recorded; nothing is called and no class is looked up.
//!
//! The opcodes are those that pickle plain values, instances and tensors, in protocols 2 to 5. Python's `pickletools`
//! documents them.

mod machine;
mod node;

use machine::PickleMachine;
pub(crate) use node::{Global, Id, Node, RecordedCall};

/// A pickle as a graph of nodes.
#[derive(Debug)]
pub(crate) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle. The error says why it cannot be read.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (nodes, root) = PickleMachine::run(bytes)?;
        Ok(Self { nodes, root })
    }

    pub(crate) fn root(&self) -> Id {
        self.root
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The name of a class or a function.
    pub(crate) fn global(&self, id: Id) -> Option<Global<'_>> {
        match self.node(id) {
            Node::Global(module, name) => Some(Global {
                module: self.text(*module)?,
                name: self.text(*name)?,
            }),
            _ => None,
        }
    }

    /// All classes and functions that the pickle names.
    pub(crate) fn globals(&self) -> impl Iterator<Item = Global<'_>> {
        (0..self.nodes.len()).filter_map(|id| self.global(id as Id))
    }

    /// The items of a tuple or a list.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// A recorded call, with the name of the callable.
    pub(crate) fn object(&self, id: Id) -> Option<(Global<'_>, &RecordedCall)> {
        match self.node(id) {
            Node::Object(object) => Some((self.global(object.callable)?, object)),
            _ => None,
        }
    }

    /// The entries of a dict or an OrderedDict.
    pub(crate) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        if let Node::Dict(entries) = self.node(id) {
            return Some(entries);
        }
        let (class, object) = self.object(id)?;
        class
            .is("collections.OrderedDict")
            .then_some(&object.entries)
    }

    /// The value of a key of a dict.
    pub(crate) fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let entries = self.entries(dict)?;
        let entry = entries.iter().find(|(k, _)| self.text(*k) == Some(key));
        entry.map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests;
