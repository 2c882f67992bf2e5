//! The sizes of a column chunk, according to the footer.
use parquet::{basic::Type, file::metadata::ColumnChunkMetaData};

use crate::file::pages;

/// Whether a column chunk lies within a file of this size.
pub(super) fn lies_inside(chunk: &ColumnChunkMetaData, bytes: u64) -> bool {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let (start, size) = (
        u64::try_from(start).ok(),
        u64::try_from(chunk.compressed_size()).ok(),
    );
    let end = start
        .zip(size)
        .and_then(|(start, size)| start.checked_add(size));
    end.is_some_and(|end| end <= bytes) && chunk.data_page_offset() >= 0
}

/// Whether a column chunk can hold this number of rows.
pub(super) fn holds(chunk: &ColumnChunkMetaData, rows: i64) -> bool {
    match chunk.column_descr().max_rep_level() {
        0 => chunk.num_values() == rows,
        _ => chunk.num_values() >= rows,
    }
}

/// The size of the pages of a column chunk.
pub(super) fn encoded_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    chunk.uncompressed_size().max(0) as u64
}

/// The size of the pages of a column chunk with text, or 0 if it has no text.
pub(super) fn encoded_text_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        Type::BYTE_ARRAY => encoded_bytes(chunk),
        _ => 0,
    }
}

/// The size of a decoded column chunk. With a dictionary it is far more than the size of the pages.
pub(super) fn decoded_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let values = chunk.num_values().max(0) as u64;
    match chunk.column_type() {
        Type::BOOLEAN => values.div_ceil(8),
        // The views of the texts, and the bytes that they share.
        Type::BYTE_ARRAY => encoded_bytes(chunk).saturating_add(values.saturating_mul(16)),
        _ => values.saturating_mul(pages::value_bytes(chunk)),
    }
}
