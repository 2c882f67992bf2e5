//! Tests files with wrong footers, indexes and pages: reading costs no more than their bytes, and no galaxy gets the
//! position of another galaxy.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, NullArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use hubbleflow_connectors::Error;
use parquet::{
    arrow::ArrowWriter,
    file::{
        metadata::{
            PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
        },
        page_index::offset_index::PageLocation,
        properties::{WriterProperties, WriterVersion},
    },
};

use testkit::*;

const PAGED: LaidOut = LaidOut {
    row_group_rows: 400,
    page_rows: 50,
    offset_index: true,
};

/// Encodes a number as in Thrift's compact protocol.
fn varint(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// Encodes entries of an offset index as in a file.
fn encoded(pages: &[PageLocation]) -> Vec<u8> {
    let entry = |page: &PageLocation| {
        [
            vec![0x16],
            varint(page.offset),
            vec![0x15],
            varint(page.compressed_page_size.into()),
            vec![0x16],
            varint(page.first_row_index),
            vec![0],
        ]
        .concat()
    };
    pages.iter().flat_map(entry).collect()
}

/// Replaces bytes that occur once.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut places = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from));
    let place = places.next().expect("the bytes to replace are there");
    assert_eq!(places.next(), None);
    bytes[place..place + from.len()].copy_from_slice(to);
}

fn metadata(bytes: &[u8]) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_offset_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&Bytes::copy_from_slice(bytes))
        .unwrap()
}

/// Makes a file of 1,000 rows in which two entries of the index of `object_id` are changed.
fn with_index(change: impl Fn(&mut [PageLocation])) -> Vec<u8> {
    let mut bytes = parquet(&galaxies(0..1000), PAGED);
    let footer = metadata(&bytes);
    let pages = footer
        .page_index_for_row_group(0)
        .page_locations(0)
        .unwrap()[2..4]
        .to_vec();
    let mut changed = pages.clone();
    change(&mut changed);
    replace(&mut bytes, &encoded(&pages), &encoded(&changed));
    bytes
}

async fn read_bytes(bytes: Vec<u8>) -> Result<Vec<SeenRow>, Error> {
    let here = memory();
    put(&here, "drop/a.parquet", bytes).await;
    let catalog = catalog(&here);
    let planned = plan(&catalog, "drop", 4_000).await?;
    read_all(&catalog, &planned).await
}

/// Regression: two pages of ids were exchanged in the index, and 16 of 64 galaxies got the positions of other galaxies.
#[tokio::test]
async fn an_index_that_swaps_pages_is_not_used() {
    let swapped = with_index(|pages| {
        let [first, second] = [pages[0].clone(), pages[1].clone()];
        (pages[0].offset, pages[1].offset) = (second.offset, first.offset);
        (pages[0].compressed_page_size, pages[1].compressed_page_size) =
            (second.compressed_page_size, first.compressed_page_size);
    });
    let expected = expected("drop/a.parquet", 0, 1000, 400);
    assert_eq!(read_bytes(swapped).await.unwrap(), expected);
    let twice = with_index(|pages| pages[1].offset = pages[0].offset);
    assert_eq!(read_bytes(twice).await.unwrap(), expected);
}

/// Contiguous pages with wrong first rows are only detected when the pages are read.
#[tokio::test]
async fn an_index_that_moves_rows_between_pages_fails_the_drop() {
    let moved = with_index(|pages| pages[1].first_row_index -= 1);
    let error = read_bytes(moved).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("page index"), "{error}");
}

/// Replaces the footer of a file.
fn with_footer(change: impl Fn(ParquetMetaData) -> ParquetMetaData) -> Vec<u8> {
    let laid_out = LaidOut {
        offset_index: false,
        ..PAGED
    };
    let bytes = parquet(&galaxies(0..100), laid_out);
    let reader = ParquetMetaDataReader::new();
    let footer = reader
        .parse_and_finish(&Bytes::copy_from_slice(&bytes))
        .unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
    let mut changed = bytes[..bytes.len() - 8 - length as usize].to_vec();
    let footer = change(footer);
    ParquetMetaDataWriter::new(&mut changed, &footer)
        .finish()
        .unwrap();
    changed
}

/// Regression: a footer of 2^40 rows made the reader allocate 8.8 TB.
#[tokio::test]
async fn a_footer_that_promises_more_rows_than_bytes_can_hold_is_corrupt() {
    for rows in [1 << 36, 1 << 40, i64::MAX] {
        for consistent in [false, true] {
            let lying = with_footer(|footer| {
                let group = footer.row_group(0).clone();
                let columns = group.columns().iter().map(|column| {
                    let builder = column.clone().into_builder();
                    let count = if consistent { rows } else { 100 };
                    builder.set_num_values(count).build().unwrap()
                });
                let columns = columns.collect();
                let group = group.into_builder().set_num_rows(rows);
                let group = group.set_column_metadata(columns).build().unwrap();
                footer.into_builder().set_row_groups(vec![group]).build()
            });
            let error = read_bytes(lying).await.unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        }
    }
}

/// Regression: a schema of one group with 2^31 - 1 children made the reader allocate 17 GB.
#[tokio::test]
async fn a_footer_that_promises_columns_that_are_not_there_is_corrupt() {
    let root = [
        &[0x48, 1, b's', 0x15][..],
        &varint(i64::from(i32::MAX)),
        &[0],
    ]
    .concat();
    let footer = [&[0x15, 2, 0x19, 0x1c][..], &root, &[0x16, 0, 0x19, 0x0c, 0]].concat();
    let length = (footer.len() as u32).to_le_bytes();
    let file = [b"PAR1", &footer[..], &length, b"PAR1"].concat();
    let error = read_bytes(file).await.unwrap_err();
    assert!(error.to_string().contains("columns"), "{error}");
}

#[tokio::test]
async fn a_file_without_rows_may_have_columns_of_any_type() {
    let here = memory();
    let named = galaxies(0..0).schema();
    let fields: Vec<_> = named
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), DataType::Null, true))
        .collect();
    let nulls: Vec<ArrayRef> = fields
        .iter()
        .map(|_| Arc::new(NullArray::new(0)) as ArrayRef)
        .collect();
    let untyped = RecordBatch::try_new(Arc::new(Schema::new(fields)), nulls).unwrap();
    put(&here, "drop/0.parquet", parquet(&untyped, PAGED)).await;
    let good = parquet(&galaxies(0..100), PAGED);
    put(&here, "drop/a.parquet", good).await;
    let catalog = catalog(&here);
    let planned = plan(&catalog, "drop", 4_000).await.unwrap();
    assert!(planned.id_kind.is_some());
    assert_eq!(
        read_all(&catalog, &planned).await.unwrap(),
        expected("drop/a.parquet", 0, 100, 400)
    );
}

/// Some writers write -1 if they did not count the nulls of a page.
#[tokio::test]
async fn a_page_that_does_not_know_its_nulls_is_read() {
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(50)
        .set_dictionary_enabled(false);
    for indexed in [false, true] {
        let properties = properties.clone().set_offset_index_disabled(!indexed);
        let (mut bytes, batch) = (Vec::new(), galaxies(0..200));
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        // Of a page of 50 rows: its values, its nulls, its rows.
        let known = [0x5c, 0x15, 100, 0x15, 0, 0x15, 100];
        let pages: Vec<usize> = (0..bytes.len() - known.len())
            .filter(|&at| bytes[at..].starts_with(&known))
            .collect();
        assert!(pages.len() >= 4, "{pages:?}");
        pages.into_iter().for_each(|page| bytes[page + 4] = 1);
        assert_eq!(
            read_bytes(bytes).await.unwrap(),
            expected("drop/a.parquet", 0, 200, 200)
        );
    }
}

/// A tool that does not know the schema stored by Arrow's writers has changed the columns.
#[tokio::test]
async fn a_stale_arrow_schema_does_not_count() {
    let stale = with_footer(|footer| {
        let other = RecordBatch::try_from_iter([("other", galaxies(0..1).column(0).clone())]);
        let mut bytes = Vec::new();
        let writer = ArrowWriter::try_new(&mut bytes, other.unwrap().schema(), None).unwrap();
        let written = writer.close().unwrap();
        let file = footer.file_metadata();
        let changed = parquet::file::metadata::FileMetaData::new(
            file.version(),
            file.num_rows(),
            file.created_by().map(str::to_owned),
            written.file_metadata().key_value_metadata().cloned(),
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        parquet::file::metadata::ParquetMetaDataBuilder::new(changed)
            .set_row_groups(footer.row_groups().to_vec())
            .build()
    });
    let expected = expected("drop/a.parquet", 0, 100, 400);
    assert_eq!(read_bytes(stale).await.unwrap(), expected);
}
