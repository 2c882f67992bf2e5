//! A pickle as plain data: what it would make is recorded, and nothing is made or called.
//!
//! The opcodes are those that pickling plain values, instances and tensors takes, of protocols 2 to 5
//! (Python's `pickletools` documents them). A node names others by their number, so that shared and circular objects
//! need no special care, and however often an object is named, it is held once.

use std::collections::HashMap;
use std::fmt;

/// A node's number.
pub(super) type Id = u32;

/// A pickle has fewer opcodes than this. Each makes a node or two of 32 bytes, and takes a byte.
const STEPS_MAX: usize = 2 << 20;
/// Names of classes and functions are shorter than this.
const GLOBAL_BYTES_MAX: usize = 1024;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    /// Bytes, which nobody asks for.
    Bytes,
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    /// A class or a function, by the texts of its module and name.
    Global(Id, Id),
    /// What a call of `callable` would give.
    Object(Box<Object>),
    /// What stands outside of the pickle.
    Persistent(Id),
}

/// A call that was recorded, and what would be done with its result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) callable: Id,
    pub(super) args: Id,
    /// Appended to it.
    pub(super) items: Vec<Id>,
    /// Set in it.
    pub(super) entries: Vec<(Id, Id)>,
    /// Its attributes, as `__setstate__` would get them.
    pub(super) state: Option<Id>,
}

/// The name of a class or a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Global<'a> {
    module: &'a str,
    name: &'a str,
}

impl Global<'_> {
    /// Whether this is `module.name`.
    pub(super) fn is(&self, full: &str) -> bool {
        let name = full.strip_prefix(self.module);
        name.and_then(|name| name.strip_prefix('.')) == Some(self.name)
    }

    /// Its name in a module; `None` where it is of another.
    pub(super) fn name_in(&self, module: &str) -> Option<&str> {
        (self.module == module).then_some(self.name)
    }
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// A whole pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: bytes,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        for _ in 0..STEPS_MAX {
            if let Some(root) = machine.step()? {
                let nodes = machine.nodes;
                return Ok(Self { nodes, root });
            }
        }
        Err(format!("it has more than {STEPS_MAX} opcodes"))
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The name of a class or a function.
    pub(super) fn global(&self, id: Id) -> Option<Global<'_>> {
        match self.node(id) {
            Node::Global(module, name) => Some(Global {
                module: self.text(*module)?,
                name: self.text(*name)?,
            }),
            _ => None,
        }
    }

    /// All classes and functions that are named.
    pub(super) fn globals(&self) -> impl Iterator<Item = Global<'_>> {
        (0..self.nodes.len()).filter_map(|id| self.global(id as Id))
    }

    /// What a tuple or a list holds.
    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// A recorded call, with the name of what would be called.
    pub(super) fn object(&self, id: Id) -> Option<(Global<'_>, &Object)> {
        match self.node(id) {
            Node::Object(object) => Some((self.global(object.callable)?, object)),
            _ => None,
        }
    }

    /// The entries of a dict or an OrderedDict.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        if let Node::Dict(entries) = self.node(id) {
            return Some(entries);
        }
        let (class, object) = self.object(id)?;
        class
            .is("collections.OrderedDict")
            .then_some(&object.entries)
    }

    /// The entry of a dict with this key.
    pub(super) fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let entries = self.entries(dict)?;
        let entry = entries.iter().find(|(k, _)| self.text(*k) == Some(key));
        entry.map(|(_, value)| *value)
    }
}

/// A pickle is a program for a machine with a stack.
struct Machine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Where in the stack marks stand.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// Carries out one opcode; answers the root at the last.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            // Protocol and frame: nothing depends on them.
            0x80 => self.take::<1>().map(drop)?,
            0x95 => self.take::<8>().map(drop)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.pop().map(drop)?,
            b'1' => self.pop_mark().map(drop)?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a => self.int(opcode)?,
            b'G' => {
                let float = f64::from_be_bytes(self.take()?);
                self.push(Node::Float(float));
            }
            b'X' | 0x8c | 0x8d => self.text(opcode)?,
            b'C' | b'B' | 0x8e | b'U' | b'T' => self.bytes(opcode)?,
            b')' | 0x85..=0x87 | b't' => self.tuple(opcode)?,
            b']' | b'}' | 0x8f => self.push(match opcode {
                b']' => Node::List(Vec::new()),
                b'}' => Node::Dict(Vec::new()),
                _ => Node::Set(Vec::new()),
            }),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.call(callable, args);
            }
            0x92 => {
                let (_keywords, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, args);
            }
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            other => {
                return Err(format!(
                    "the opcode {other:#04x} is none of those that are read"
                ));
            }
        }
        Ok(None)
    }

    fn bytes_of(&mut self, len: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.bytes_of(N)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    /// A line of text, as a node that is not on the stack.
    fn line(&mut self) -> Result<Id, String> {
        let rest = &self.rest[..self.rest.len().min(GLOBAL_BYTES_MAX)];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let line = self.bytes_of(len.ok_or("a name is too long, or it ends too early")?)?;
        let line = str::from_utf8(line).map_err(|_| "a name is no UTF-8")?;
        let node = Node::Text(line.into());
        self.take::<1>()?;
        Ok(self.node(node))
    }

    /// The number of a new node.
    fn node(&mut self, node: Node) -> Id {
        // Fewer than three for each opcode, so their number fits.
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    fn push(&mut self, node: Node) {
        let id = self.node(node);
        self.stack.push(id);
    }

    /// What is on top, if it stands above the last mark.
    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(|above| above.last());
        top.copied()
            .ok_or_else(|| "its stack runs empty".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn len(&mut self, bytes: usize) -> Result<usize, String> {
        let mut eight = [0; 8];
        eight[..bytes].copy_from_slice(self.bytes_of(bytes)?);
        usize::try_from(u64::from_le_bytes(eight)).map_err(|_| "a length is too large".to_owned())
    }

    fn int(&mut self, opcode: u8) -> Result<(), String> {
        let int = match opcode {
            b'J' => i64::from(i32::from_le_bytes(self.take()?)),
            b'K' => self.len(1)? as i64,
            b'M' => self.len(2)? as i64,
            _ => {
                let len = self.len(1)?;
                let bytes = self.bytes_of(len)?;
                let sign = bytes
                    .last()
                    .map_or(0, |&byte| if byte > 127 { 0xff } else { 0 });
                let mut eight = [sign; 8];
                // A number beyond 64 bits (a seed, say) is of no use here: its low ones do.
                let len = len.min(8);
                eight[..len].copy_from_slice(&bytes[..len]);
                i64::from_le_bytes(eight)
            }
        };
        self.push(Node::Int(int));
        Ok(())
    }

    fn text(&mut self, opcode: u8) -> Result<(), String> {
        let len = self.len(match opcode {
            0x8c => 1,
            b'X' => 4,
            _ => 8,
        })?;
        let text = text_of(self.bytes_of(len)?);
        self.push(text);
        Ok(())
    }

    fn bytes(&mut self, opcode: u8) -> Result<(), String> {
        let len = self.len(match opcode {
            b'C' | b'U' => 1,
            b'B' | b'T' => 4,
            _ => 8,
        })?;
        let bytes = self.bytes_of(len)?;
        let node = match opcode {
            // Strings of Python 2.
            b'U' | b'T' => text_of(bytes),
            _ => Node::Bytes,
        };
        self.push(node);
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Result<(), String> {
        let items = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => {
                let len = usize::from(opcode - 0x84);
                let mut items = (0..len)
                    .map(|_| self.pop())
                    .collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                items
            }
        };
        self.push(Node::Tuple(items.into()));
        Ok(())
    }

    fn append(&mut self, new: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::List(items) | Node::Set(items) => items.extend(new),
            Node::Object(object) => object.items.extend(new),
            _ => return Err("something is appended to what is no list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match &mut self.nodes[top as usize] {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Object(object) => object.entries.extend(pairs),
            _ => return Err("something is set in what is no dict".to_owned()),
        }
        Ok(())
    }

    fn memo(&mut self, opcode: u8) -> Result<(), String> {
        let number = match opcode {
            b'q' | b'h' => self.len(1)? as u32,
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, b'h' | b'j') {
            let known = self.memo.get(&number);
            let known = known.ok_or("it refers to what it has not made")?;
            self.stack.push(*known);
        } else {
            let top = self.top()?;
            self.memo.insert(number, top);
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), String> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            for id in [module, name] {
                match &self.nodes[id as usize] {
                    Node::Text(text) if text.len() < GLOBAL_BYTES_MAX => {}
                    Node::Text(_) => return Err("the name of a class is too long".to_owned()),
                    _ => return Err("a class is named by what is no text".to_owned()),
                }
            }
            (module, name)
        };
        self.push(Node::Global(module, name));
        Ok(())
    }

    fn call(&mut self, callable: Id, args: Id) {
        self.push(Node::Object(Box::new(Object {
            callable,
            args,
            items: Vec::new(),
            entries: Vec::new(),
            state: None,
        })));
    }

    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::Object(object) => object.state = Some(state),
            _ => return Err("attributes are given to what is no object".to_owned()),
        }
        Ok(())
    }
}

/// Text; bytes that are no UTF-8 are replaced.
fn text_of(bytes: &[u8]) -> Node {
    Node::Text(String::from_utf8_lossy(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `pickle.dumps({"a": (1, 2.5), "b": [None, True, -3, "x"]}, protocol=2)`, less its memo's numbers.
    const PLAIN: &[u8] =
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01G\x40\x04\x00\x00\x00\x00\x00\x00\x86q\x01X\x01\x00\x00\x00b]q\x02(N\x88J\xfd\xff\xff\xffX\x01\x00\x00\x00xeu.";

    #[test]
    fn plain_values_are_read() {
        let pickle = Pickle::parse(PLAIN).unwrap();
        let a = pickle.get(pickle.root(), "a").unwrap();
        let [one, float] = pickle.sequence(a).unwrap() else {
            panic!("a pair");
        };
        assert_eq!(pickle.int(*one), Some(1));
        assert_eq!(pickle.node(*float), &Node::Float(2.5));
        let b = pickle.get(pickle.root(), "b").unwrap();
        let b: Vec<_> = pickle
            .sequence(b)
            .unwrap()
            .iter()
            .map(|&id| pickle.node(id))
            .collect();
        assert_eq!(
            b,
            [
                &Node::None,
                &Node::Bool(true),
                &Node::Int(-3),
                &Node::Text("x".into())
            ]
        );
    }

    #[test]
    fn a_call_is_recorded_and_not_made() {
        let pickle = Pickle::parse(b"cos\nsystem\nX\x04\x00\x00\x00exit\x85R.").unwrap();
        let (name, object) = pickle.object(pickle.root()).unwrap();
        assert!(name.is("os.system") && !name.is("os.systems") && !name.is("s.system"));
        assert_eq!(name.to_string(), "os.system");
        assert_eq!(pickle.sequence(object.args).map(<[Id]>::len), Some(1));
    }

    /// A text that named a class was copied for each class that it named: two kilobytes took gigabytes.
    #[test]
    fn however_often_an_object_is_named_it_is_held_once() {
        let mut bytes = b"\x80\x04(\x8c\x09some name\x94".to_vec();
        (0..1000).for_each(|_| bytes.extend(b"h\x00h\x00\x93"));
        let pickle = Pickle::parse(&[&bytes[..], b"l"].concat());
        assert!(pickle.is_err(), "protocol 0's list is not read");
        let pickle = Pickle::parse(&[&bytes[..], b"t."].concat()).unwrap();
        assert_eq!(pickle.globals().count(), 1000);
        let texts = pickle
            .nodes
            .iter()
            .filter(|node| matches!(node, Node::Text(_)));
        assert_eq!(texts.count(), 1);
        assert!(size_of::<Node>() <= 32);
        let long = [
            &b"\x8d\x00\x10\x00\x00\x00\x00\x00\x00"[..],
            &[b'a'; 4096],
            b"2\x93.",
        ];
        assert!(
            Pickle::parse(&long.concat())
                .unwrap_err()
                .contains("too long")
        );
    }

    /// Each byte made a node of 88 bytes, and 58 kB that inflate to 64 MB took 5.2 GB.
    #[test]
    fn a_pickle_of_more_opcodes_than_any_network_takes_is_refused() {
        let bytes = vec![b']'; STEPS_MAX + 1];
        assert!(Pickle::parse(&bytes).unwrap_err().contains("opcodes"));
    }

    #[test]
    fn an_object_may_hold_itself() {
        let pickle = Pickle::parse(b"]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.sequence(pickle.root()), Some(&[pickle.root()][..]));
    }

    #[test]
    fn a_pickle_that_is_cut_short_is_refused() {
        for len in 0..PLAIN.len() {
            assert!(
                Pickle::parse(&PLAIN[..len]).is_err(),
                "the first {len} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_of_any_length_are_read(number in any::<i64>(), len in 1usize..=8) {
            let number = number >> (64 - 8 * len);
            let mut bytes = vec![0x8a, len as u8];
            bytes.extend(&number.to_le_bytes()[..len]);
            bytes.push(b'.');
            let pickle = Pickle::parse(&bytes).unwrap();
            prop_assert_eq!(pickle.int(pickle.root()), Some(number));
        }

        #[test]
        fn garbage_is_refused_or_read_and_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = Pickle::parse(&bytes);
        }

        #[test]
        fn opcodes_in_any_order_never_panic(
            picks in proptest::collection::vec((0..PLAIN.len(), any::<u8>()), 1..20)
        ) {
            let mut bytes = PLAIN.to_vec();
            picks.iter().for_each(|&(at, byte)| bytes[at] = byte);
            if let Ok(pickle) = Pickle::parse(&bytes) {
                let _ = (pickle.entries(pickle.root()), pickle.get(pickle.root(), "a"));
            }
        }
    }
}
