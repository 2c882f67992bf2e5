//! Encodes pieces as bytes, to send them between processes and to store them in checkpoints.
//!
//! ```text
//! [length of head: u32 LE] [head: JSON] [rows: Arrow IPC stream]      for each piece
//! ```
use arrow::{
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::part::{Folder, Piece};

/// The fastest level of zstd.
const LEVEL: i32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    part: u32,
    folder: Folder,
    object: String,
    object_index: u32,
    rows_bytes: usize,
}

/// Encodes pieces.
///
/// # Errors
/// If Arrow cannot write a column as IPC.
pub fn encode(pieces: &[Piece]) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let mut writer = StreamWriter::try_new(Vec::new(), piece.rows.schema_ref())?;
        writer.write(&piece.rows)?;
        let rows = writer.into_inner()?;
        let Piece {
            part,
            folder,
            object,
            object_index,
            ..
        } = piece.clone();
        let head = Head {
            part,
            folder,
            object,
            object_index,
            rows_bytes: rows.len(),
        };
        let head = serde_json::to_vec(&head).expect("invariant: a head is plain data");
        bytes.extend((head.len() as u32).to_le_bytes());
        bytes.extend(head);
        bytes.extend(rows);
    }
    Ok(bytes)
}

/// Decodes pieces.
///
/// # Errors
/// If the bytes were not made by [`encode`], or end within a piece.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Piece>, ArrowError> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let head_bytes = u32::from_le_bytes(
            take(&mut bytes, 4)?
                .try_into()
                .expect("invariant: the slice has four bytes"),
        );
        let head = serde_json::from_slice(take(&mut bytes, head_bytes as usize)?);
        let head: Head = head.map_err(|error| ArrowError::IpcError(error.to_string()))?;
        let mut reader = StreamReader::try_new(take(&mut bytes, head.rows_bytes)?, None)?;
        let rows = reader
            .next()
            .ok_or_else(|| ArrowError::IpcError("a piece without rows".to_owned()))??;
        let Head {
            part,
            folder,
            object,
            object_index,
            ..
        } = head;
        pieces.push(Piece {
            part,
            folder,
            object,
            object_index,
            rows,
        });
    }
    Ok(pieces)
}

/// Compressed pieces, as checkpoints hold them. Kept text may be long.
#[derive(Clone, Debug)]
pub struct CompressedPieces(Bytes);

impl CompressedPieces {
    /// Compresses pieces.
    ///
    /// # Errors
    /// The errors of [`encode`].
    pub fn new(pieces: &[Piece]) -> Result<Self, ArrowError> {
        let bytes = zstd::encode_all(encode(pieces)?.as_slice(), LEVEL)?;
        Ok(Self(bytes.into()))
    }

    /// Takes bytes that [`CompressedPieces::into_bytes`] has returned.
    pub fn of(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Returns the bytes to store.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Decodes the pieces.
    ///
    /// # Errors
    /// The errors of [`decode`].
    pub fn pieces(&self) -> Result<Vec<Piece>, ArrowError> {
        decode(&zstd::decode_all(&self.0[..])?)
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], ArrowError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(|| {
        ArrowError::IpcError(format!("{} bytes where {length} were written", bytes.len()))
    })?;
    *bytes = rest;
    Ok(taken)
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = encode(std::slice::from_ref(self)).map_err(serde::ser::Error::custom)?;
        serde_bytes::serialize(&bytes, serializer)
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        let mut pieces = decode(&bytes).map_err(serde::de::Error::custom)?;
        pieces
            .pop()
            .ok_or_else(|| serde::de::Error::custom("no piece"))
    }
}
