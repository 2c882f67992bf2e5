//! Decides which splits of a drop are adopted, and which are read.
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::store::Checkpoint;
use crate::{Cut, ObjectRef, Split, split::Splits};

/// Splits of a drop whose results one checkpoint holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSplits {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The splits to take, each with its place among the splits of the checkpoint.
    pub splits: Vec<(u32, Split)>,
}

impl StoredSplits {
    /// Whether the checkpoint holds exactly these splits, with the places that their objects have now. If so, the results
    /// need not stay in memory, because the checkpoint can be read again.
    pub fn is_all(&self) -> bool {
        let held = &self.checkpoint.head.splits;
        let segments = self.checkpoint.head.segments.iter();
        let mut pieces = segments.flat_map(|segment| &segment.splits);
        let same_index = |(place, split): &(u32, Split)| {
            held[*place as usize].object_index == split.object_index
        };
        self.splits.len() == held.len()
            && self.splits.iter().all(same_index)
            && pieces.all(|place| (*place as usize) < held.len())
    }

    /// The number of rows of the splits.
    pub fn rows(&self) -> u64 {
        let splits = self.splits.iter();
        splits.map(|(_, split)| split.cut.rows.len() as u64).sum()
    }
}

/// The splits of a drop that are adopted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adopted {
    stored: VecDeque<StoredSplits>,
    /// The numbers of the adopted splits.
    numbers: HashSet<u64>,
}

impl Adopted {
    /// Finds the splits that checkpoints hold. The object with its ETag and the rows must be the same, and so must be the
    /// kind, the parts and the kept columns of the drop.
    pub fn find(splits: Splits, checkpoints: Vec<Checkpoint>) -> Self {
        let mut places: HashMap<(ObjectRef, Cut), (usize, u32)> = HashMap::new();
        let source = splits.source();
        for (index, Checkpoint { head, .. }) in checkpoints.iter().enumerate() {
            if (head.kind, head.parts, &head.keep) != (source.kind, source.parts, &source.keep) {
                continue;
            }
            for (place, held) in head.splits.iter().enumerate() {
                let object = &head.objects[held.object as usize];
                // Without an ETag nobody can tell whether the content is the same.
                if object.etag.is_some() {
                    let key = (object.clone(), held.cut.clone());
                    places.entry(key).or_insert((index, place as u32));
                }
            }
        }
        let mut of_checkpoint = vec![Vec::new(); checkpoints.len()];
        let mut numbers = HashSet::new();
        for split in splits {
            if places.is_empty() {
                break;
            }
            let key = (split.object.clone(), split.cut.clone());
            if let Some((index, place)) = places.remove(&key) {
                numbers.insert(split.number);
                of_checkpoint[index].push((place, split));
            }
        }
        let stored = checkpoints.into_iter().zip(of_checkpoint);
        let stored = stored.filter(|(_, splits)| !splits.is_empty());
        Self {
            stored: stored
                .map(|(checkpoint, splits)| StoredSplits { checkpoint, splits })
                .collect(),
            numbers,
        }
    }

    /// Upper bound on the rows of these splits that a run can adopt: the largest count over all digests.
    pub fn rows_max(splits: &Splits, checkpoints: Vec<Checkpoint>) -> u64 {
        let groups = by_digest(checkpoints).into_values();
        let rows = groups.map(|group| Self::find(splits.clone(), group).rows());
        rows.max().unwrap_or(0)
    }

    /// The number of rows that are adopted.
    pub fn rows(&self) -> u64 {
        self.stored.iter().map(StoredSplits::rows).sum()
    }
}

/// Counts the rows in checkpoints of a drop for each digest, and returns the largest count.
pub fn rows_stored(checkpoints: Vec<Checkpoint>) -> u64 {
    let groups = by_digest(checkpoints).into_values();
    let rows = groups.map(|group| {
        let held = group.iter().flat_map(|checkpoint| {
            let head = &checkpoint.head;
            let splits = head.splits.iter();
            splits.map(|held| (&head.objects[held.object as usize], &held.cut))
        });
        // Two runs may have stored the same split.
        let splits: HashSet<(&ObjectRef, &Cut)> = held.collect();
        let rows = splits.into_iter().map(|(_, cut)| cut.rows.len() as u64);
        rows.sum()
    });
    rows.max().unwrap_or(0)
}

/// Groups checkpoints by digest.
fn by_digest(checkpoints: Vec<Checkpoint>) -> BTreeMap<String, Vec<Checkpoint>> {
    let mut groups: BTreeMap<String, Vec<Checkpoint>> = BTreeMap::new();
    for checkpoint in checkpoints {
        let digest = checkpoint.digest().to_owned();
        groups.entry(digest).or_default().push(checkpoint);
    }
    groups
}

/// The work that a worker gets at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Read a split, and predict its rows.
    Read(Split),
    /// Read the results of splits.
    Adopt(StoredSplits),
}

impl Task {
    /// The number of splits.
    pub fn splits(&self) -> usize {
        match self {
            Self::Read(_) => 1,
            Self::Adopt(stored) => stored.splits.len(),
        }
    }
}

/// The tasks of a drop in order: first the splits to adopt, then the splits to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    splits: Splits,
    adopted: Adopted,
}

impl Work {
    /// The work on `splits`, of which those of `adopted` are not read.
    pub fn new(splits: Splits, adopted: Adopted) -> Self {
        Self { splits, adopted }
    }

    /// Skips the splits of an object that are not dealt yet, as [`Splits::skip_object`] does.
    pub fn skip_object(&mut self, index: u32) {
        self.splits.skip_object(index);
    }
}

impl From<Splits> for Work {
    fn from(splits: Splits) -> Self {
        Self::new(splits, Adopted::default())
    }
}

impl Iterator for Work {
    type Item = Task;

    fn next(&mut self) -> Option<Task> {
        if let Some(stored) = self.adopted.stored.pop_front() {
            return Some(Task::Adopt(stored));
        }
        let numbers = &self.adopted.numbers;
        let split = self.splits.find(|split| !numbers.contains(&split.number));
        split.map(Task::Read)
    }
}
