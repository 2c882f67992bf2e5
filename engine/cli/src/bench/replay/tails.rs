//! The tails of the files that were read last, so that a footer is parsed once for all that is read of a file.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::tail::Tail;

/// Upper bound on the memory of the tails, without the newest.
const KEPT_BYTES: usize = 16 << 20;

/// A file, and whether its spec-z are left out.
type Key = (usize, bool);

/// The tails that were used last.
#[derive(Debug, Default)]
pub struct Tails(Mutex<VecDeque<(Key, Arc<Tail>)>>);

impl Tails {
    /// The tail of a file, if it is kept.
    pub fn get(&self, key: Key) -> Option<Arc<Tail>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(kept, _)| *kept == key);
        found.map(|(_, tail)| tail.clone())
    }

    /// Keeps a tail. The oldest go if they take too much memory.
    pub fn keep(&self, key: Key, tail: &Arc<Tail>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(kept, _)| *kept != key);
        kept.push_back((key, tail.clone()));
        let bytes = |kept: &VecDeque<(Key, Arc<Tail>)>| {
            let bytes = kept.iter().map(|(_, tail)| tail.memory_bytes());
            bytes.sum::<usize>()
        };
        while kept.len() > 1 && bytes(&kept) > KEPT_BYTES {
            kept.pop_front();
        }
    }
}
