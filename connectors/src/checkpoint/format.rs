//! A checkpoint as bytes.
//!
//! ```text
//! ["HFCHECK1"] [length of head: u32 LE] [XXH3 of head: u64 LE] [head: JSON] [segment] [segment] …
//! ```
//! A segment holds the pieces of one part, compressed ([`CompressedPieces`]), so that the part can be read alone.
use std::{collections::BTreeMap, ops::Range};

use arrow::error::ArrowError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::{
    Cut, ObjectRef, Split,
    galaxy::{FileKind, KeptTypes},
    part::{Piece, codec::CompressedPieces},
};

/// The first bytes of each checkpoint. The digit is the version of the format.
const MAGIC: &[u8; 8] = b"HFCHECK1";
/// Bytes before the head.
pub(super) const HEAD_AT: usize = MAGIC.len() + 4 + 8;
/// Upper bound on the bytes of a head. A checkpoint of 100,000 splits has a head of about 15 MB.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 20;
/// Stands for the split of pieces whose split is incomplete. They cannot be adopted.
const NO_SPLIT: u32 = u32::MAX;

/// The results of a split: its rows by folder and part of the output.
#[derive(Clone, Debug)]
pub struct SplitResult {
    /// The split.
    pub split: Split,
    /// Whether these are the results of all rows of the split.
    pub is_whole: bool,
    /// The rows.
    pub pieces: Vec<Piece>,
}

impl SplitResult {
    /// Bytes of the rows in memory.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(Piece::bytes).sum()
    }
}

/// The contents of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The whole id of the model.
    pub model_id: String,
    /// The kind of the drop's rows.
    pub kind: FileKind,
    /// The number of parts of the drop.
    pub parts: u32,
    /// The types of the kept columns of the drop.
    pub keep: KeptTypes,
    /// The objects that the splits come from.
    pub objects: Vec<ObjectRef>,
    /// The splits that it holds whole.
    pub splits: Vec<HeldSplit>,
    /// The parts, in the order of their segments.
    pub segments: Vec<Segment>,
}

/// A split in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldSplit {
    /// The object of the split, by its place in [`Head::objects`].
    pub object: u32,
    /// The object's place among the drop's objects.
    pub object_index: u32,
    /// Where the split lies in the object.
    pub cut: Cut,
}

/// The pieces of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The part.
    pub part: u32,
    /// Bytes of the segment.
    pub bytes: u64,
    /// Bytes of the rows in memory.
    pub decoded_bytes: u64,
    /// XXH3 of the bytes.
    pub xxh3: u64,
    /// The split of each piece, by its place in [`Head::splits`].
    pub splits: Vec<u32>,
}

impl Head {
    /// The byte range of each segment, counted from the first segment.
    pub fn ranges(&self) -> impl Iterator<Item = (&Segment, Range<u64>)> {
        self.segments.iter().scan(0, |end, segment| {
            let start = *end;
            *end += segment.bytes;
            Some((segment, start..*end))
        })
    }

    /// Bytes of all segments.
    pub fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Encodes results of one attempt at a drop.
///
/// # Errors
/// If Arrow cannot write a column as IPC.
pub(super) fn encode(
    results: &[SplitResult],
    model_id: &str,
) -> Result<(Head, Vec<u8>), ArrowError> {
    let mut head = Head {
        model_id: model_id.to_owned(),
        kind: FileKind::default(),
        parts: 1,
        keep: KeptTypes::new(),
        objects: Vec::new(),
        splits: Vec::new(),
        segments: Vec::new(),
    };
    let mut parts: BTreeMap<u32, (Vec<Piece>, Vec<u32>)> = BTreeMap::new();
    for result in results {
        let split = &result.split;
        (head.kind, head.parts) = (split.kind, split.parts);
        head.keep.clone_from(&split.keep);
        let held = match result.is_whole {
            true => hold(&mut head, split),
            false => NO_SPLIT,
        };
        for piece in &result.pieces {
            let (pieces, splits) = parts.entry(piece.part).or_default();
            pieces.push(piece.clone());
            splits.push(held);
        }
    }
    let mut segments = Vec::new();
    for (part, (pieces, splits)) in parts {
        let bytes = CompressedPieces::new(&pieces)?.into_bytes();
        head.segments.push(Segment {
            part,
            bytes: bytes.len() as u64,
            decoded_bytes: pieces.iter().map(Piece::bytes).sum(),
            xxh3: XxHash3_64::oneshot(&bytes),
            splits,
        });
        segments.extend(bytes);
    }
    let says = serde_json::to_vec(&head).expect("invariant: a head is plain data");
    let mut all = Vec::with_capacity(HEAD_AT + says.len() + segments.len());
    all.extend(MAGIC);
    all.extend((says.len() as u32).to_le_bytes());
    all.extend(XxHash3_64::oneshot(&says).to_le_bytes());
    all.extend(says);
    all.extend(segments);
    Ok((head, all))
}

/// Adds a split to a head. Returns the split's place in [`Head::splits`].
fn hold(head: &mut Head, split: &Split) -> u32 {
    let known = head
        .objects
        .iter()
        .rposition(|object| *object == split.object);
    let object = known.unwrap_or_else(|| {
        head.objects.push(split.object.clone());
        head.objects.len() - 1
    });
    head.splits.push(HeldSplit {
        object: object as u32,
        object_index: split.object_index,
        cut: split.cut.clone(),
    });
    head.splits.len() as u32 - 1
}

/// Reads the length of the head in bytes, and its XXH3, from the first [`HEAD_AT`] bytes of an object. `None` if the
/// object is not a checkpoint.
pub(super) fn head_length(start: &[u8]) -> Option<(usize, u64)> {
    let (magic, rest) = start.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (xxh3, _) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    (magic == MAGIC && length <= HEAD_BYTES_MAX).then(|| (length, u64::from_le_bytes(*xxh3)))
}

/// The head in these bytes, if it is intact.
pub(super) fn parse_head(says: &[u8], xxh3: u64) -> Option<Head> {
    if XxHash3_64::oneshot(says) != xxh3 {
        return None;
    }
    let head: Head = serde_json::from_slice(says).ok()?;
    let splits = head.splits.iter();
    let has_objects = splits
        .map(|split| split.object as usize)
        .all(|object| object < head.objects.len());
    let mut sizes = head.segments.iter().map(|segment| segment.bytes);
    let has_sum = sizes.try_fold(0_u64, u64::checked_add).is_some();
    (has_objects && has_sum).then_some(head)
}

/// The pieces of a segment, and the split of each. `None` if the segment is damaged.
pub(super) fn pieces(segment: &Segment, bytes: &Bytes) -> Option<Vec<(u32, Piece)>> {
    if XxHash3_64::oneshot(bytes) != segment.xxh3 {
        return None;
    }
    let pieces = CompressedPieces::of(bytes.clone()).pieces().ok()?;
    let is_intact = pieces.len() == segment.splits.len()
        && pieces.iter().all(|piece| piece.part == segment.part);
    is_intact.then(|| segment.splits.iter().copied().zip(pieces).collect())
}
