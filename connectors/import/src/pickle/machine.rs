//! The stack machine that a pickle is a program for.

use std::collections::HashMap;

use super::node::{Id, Node, RecordedCall};

/// Upper bound on the number of opcodes. An opcode takes at least one byte and makes at most two nodes of 32 bytes.
pub(super) const STEPS_MAX: usize = 2 << 20;
/// Upper bound on the length of the name of a class or a function, exclusive.
const GLOBAL_BYTES_MAX: usize = 1024;

/// The state of the machine.
pub(super) struct PickleMachine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// The positions of marks in the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> PickleMachine<'a> {
    /// Carries out all opcodes. Returns the nodes and the root.
    pub(super) fn run(bytes: &'a [u8]) -> Result<(Vec<Node>, Id), String> {
        let mut machine = Self {
            rest: bytes,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        for _ in 0..STEPS_MAX {
            if let Some(root) = machine.step()? {
                return Ok((machine.nodes, root));
            }
        }
        Err(format!("it has more than {STEPS_MAX} opcodes"))
    }

    /// Carries out one opcode. Returns the root after the last opcode.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            // Protocol and frame, which change nothing here.
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
                return Err(format!("the opcode {other:#04x} is not supported"));
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
        Ok(bytes.try_into().expect("invariant: N bytes were taken"))
    }

    /// Reads a line of text into a node that is not pushed.
    fn line(&mut self) -> Result<Id, String> {
        let rest = &self.rest[..self.rest.len().min(GLOBAL_BYTES_MAX)];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let line = self.bytes_of(len.ok_or("a name is too long, or it ends too early")?)?;
        let line = str::from_utf8(line).map_err(|_| "a name is not UTF-8")?;
        let node = Node::Text(line.into());
        self.take::<1>()?;
        Ok(self.node(node))
    }

    /// Adds a node and returns its number.
    fn node(&mut self, node: Node) -> Id {
        // An opcode makes at most two nodes, so their number fits into 32 bits.
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    fn push(&mut self, node: Node) {
        let id = self.node(node);
        self.stack.push(id);
    }

    /// The top of the stack, if it is above the last mark.
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
                // A number above 64 bits, such as a seed, is not needed: its low 64 bits are kept.
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
            // A string of Python 2.
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
            _ => return Err("something is appended to an object that is not a list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match &mut self.nodes[top as usize] {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Object(object) => object.entries.extend(pairs),
            _ => return Err("something is set in an object that is not a dict".to_owned()),
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
            let known = known.ok_or("it refers to an object that does not exist")?;
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
                    _ => return Err("the name of a class is not text".to_owned()),
                }
            }
            (module, name)
        };
        self.push(Node::Global(module, name));
        Ok(())
    }

    fn call(&mut self, callable: Id, args: Id) {
        self.push(Node::Object(Box::new(RecordedCall {
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
            _ => return Err("attributes are set on a value that is not an object".to_owned()),
        }
        Ok(())
    }
}

/// A text node. Bytes that are not UTF-8 are replaced.
fn text_of(bytes: &[u8]) -> Node {
    Node::Text(String::from_utf8_lossy(bytes).into())
}
