//! Tests reading while the store fails: each row is read once, and memory stays within the budget.
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::array::Array;
use futures::FutureExt;
use hubbleflow_connectors::{Chunk, Error, budget::Budget};
use object_store::PutPayload;
use proptest::prelude::*;
use tokio::sync::mpsc;

use testkit::*;

const INDEXED: LaidOut = LaidOut {
    row_group_rows: 400,
    page_rows: 50,
    offset_index: true,
};
const NOT_INDEXED: LaidOut = LaidOut {
    row_group_rows: 400,
    page_rows: 50,
    offset_index: false,
};

/// Plans a drop of one object of 1,000 rows. After that the store fails as it is told.
async fn read_through(
    laid_out: LaidOut,
    split_bytes: u64,
    fault: impl Fn() -> Fault + Send + Sync + 'static,
) {
    let healthy = memory();
    put(
        &healthy,
        "drop/a.parquet",
        parquet(&galaxies(0..1000), laid_out),
    )
    .await;
    let planned = plan(&catalog(&healthy), "drop", split_bytes).await.unwrap();
    let is_get = |asked: &Asked<'_>| asked.what == What::Get;
    let ill = catalog(&failing(&healthy, move |asked| {
        if is_get(asked) { fault() } else { Fault::None }
    }));
    let seen = read_all(&ill, &planned).await.unwrap();
    assert_eq!(seen, expected("drop/a.parquet", 0, 1000, 400));
}

/// Makes each `k`-th request fail with this fault.
fn at_every(k: u64, fault: fn() -> Fault) -> impl Fn() -> Fault + Send + Sync {
    let due = every(k);
    move || if due() { fault() } else { Fault::None }
}

#[tokio::test]
async fn a_request_that_fails_now_and_then_costs_no_row() {
    for k in [2, 3, 5] {
        read_through(INDEXED, 4_000, at_every(k, || Fault::Refuse)).await;
        read_through(INDEXED, 1 << 20, at_every(k, || Fault::Refuse)).await;
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_costs_no_row() {
    for k in [2, 3, 5] {
        read_through(INDEXED, 4_000, at_every(k, || Fault::CutBody)).await;
    }
}

#[tokio::test]
async fn a_streamed_row_group_goes_on_after_a_failure_where_it_stopped() {
    read_through(NOT_INDEXED, 4_000, at_every(3, || Fault::Refuse)).await;
    read_through(NOT_INDEXED, 4_000, at_every(3, || Fault::CutBody)).await;
}

#[tokio::test]
async fn a_store_that_stays_down_fails_the_split() {
    let healthy = memory();
    put(
        &healthy,
        "drop/a.parquet",
        parquet(&galaxies(0..10), INDEXED),
    )
    .await;
    let planned = plan(&catalog(&healthy), "drop", 4_000).await.unwrap();
    let down = catalog(&failing(&healthy, |_| Fault::Refuse));
    let error = read_all(&down, &planned).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
}

#[tokio::test]
async fn a_long_stream_outlives_more_failures_than_a_split_has_attempts() {
    let healthy = memory();
    let rows = 6000;
    let blob: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from_iter_values(
        (0..rows).map(|row| Seeded(row as u64).text(4096)),
    ));
    let mut columns: Vec<_> = galaxies(0..rows)
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    columns.push("note".to_owned());
    let mut arrays = galaxies(0..rows).columns().to_vec();
    arrays.push(blob);
    let batch = arrow::array::RecordBatch::try_from_iter(columns.into_iter().zip(arrays)).unwrap();
    let laid_out = LaidOut {
        row_group_rows: rows as usize,
        page_rows: 100,
        offset_index: false,
    };
    put(&healthy, "drop/a.parquet", parquet(&batch, laid_out)).await;
    let request = hubbleflow_connectors::galaxy::Request {
        keep: vec!["note".to_owned()],
        ..request()
    };
    let of = |location| {
        Arc::new(hubbleflow_connectors::Catalog::new(
            location,
            hubbleflow_connectors::DropBy::Child,
            request.clone(),
        ))
    };
    let planned = plan(&of(healthy.clone()), "drop", 1 << 20).await.unwrap();
    let splits: Vec<_> = planned.splits.clone().collect();
    assert!(splits.len() == 1 && splits[0].cut.streamed);
    // Each attempt gets one request further than the attempt before.
    let (requests, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ill = of(failing(&healthy, move |asked| {
        let request = requests.fetch_add(1, Ordering::SeqCst);
        if asked.what != What::Get || request < failures.load(Ordering::SeqCst) + 3 {
            return Fault::None;
        }
        requests.store(0, Ordering::SeqCst);
        failures.fetch_add(1, Ordering::SeqCst);
        Fault::Refuse
    }));
    let seen = read_all(&ill, &planned).await.unwrap();
    assert_eq!(
        seen,
        expected("drop/a.parquet", 0, rows as usize, rows as usize)
    );
}

#[tokio::test]
async fn a_limit_takes_the_first_rows_of_the_drop() {
    let here = memory();
    put(
        &here,
        "drop/a.parquet",
        parquet(&galaxies(0..1000), INDEXED),
    )
    .await;
    put(
        &here,
        "drop/b.parquet",
        parquet(&galaxies(1000..2000), NOT_INDEXED),
    )
    .await;
    let all = [
        expected("drop/a.parquet", 0, 1000, 400),
        expected("drop/b.parquet", 1000, 1000, 400),
    ]
    .concat();
    for (limit, split_bytes) in [
        (1, 4_000),
        (399, 4_000),
        (400, 4_000),
        (401, 1 << 20),
        (1001, 4_000),
        (1450, 1 << 20),
        (9999, 4_000),
    ] {
        let catalog = catalog(&here);
        let mut planned = plan(&catalog, "drop", split_bytes).await.unwrap();
        planned.limit(limit);
        let seen = read_all(&catalog, &planned).await.unwrap();
        assert_eq!(seen, all[..all.len().min(limit as usize)], "limit {limit}");
        assert_eq!(planned.rows, seen.len() as u64, "limit {limit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_row_is_read_once_in_order_however_the_file_is_laid_out(
        rows in 1_usize..600,
        row_group_rows in 1_usize..300,
        page_rows in 1_usize..120,
        offset_index: bool,
        split_bytes in 40_u64..40_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let here = memory();
            let batch = galaxies(0..rows as i64);
            put(&here, "drop/a.parquet", parquet(&batch, LaidOut { row_group_rows, page_rows, offset_index })).await;
            let catalog = catalog(&here);
            let planned = plan(&catalog, "drop", split_bytes).await.unwrap();
            let seen = read_all(&catalog, &planned).await.unwrap();
            prop_assert_eq!(seen, expected("drop/a.parquet", 0, rows, row_group_rows));
            Ok(())
        })?;
    }

    #[test]
    fn a_damaged_object_is_an_error_of_its_own_and_no_panic(position in any::<prop::sample::Index>(), to: u8, offset_index: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut bytes = parquet(&galaxies(0..300), LaidOut { row_group_rows: 100, page_rows: 20, offset_index });
        let position = position.index(bytes.len());
        bytes[position] = to;
        let outcome = runtime.block_on(AssertUnwindSafe(read_object(bytes)).catch_unwind());
        match outcome {
            Ok(Ok(_)) | Ok(Err(Error::Corrupt { .. } | Error::Schema { .. })) => {}
            Ok(Err(error)) => prop_assert!(false, "{position} := {to}: {error:?}"),
            Err(_) => prop_assert!(false, "{position} := {to}: a panic"),
        }
    }
}

/// The page indexes and the footer are at the end of the file.
#[tokio::test]
async fn a_damaged_index_is_an_error_of_its_own() {
    let sound = parquet(
        &galaxies(0..300),
        LaidOut {
            row_group_rows: 100,
            page_rows: 20,
            offset_index: true,
        },
    );
    for position in (sound.len() - 6_000..sound.len()).step_by(7) {
        for to in [0x05, 0xb9] {
            let mut bytes = sound.clone();
            bytes[position] = to;
            let outcome = read_object(bytes).await;
            let told = matches!(
                outcome,
                Ok(_) | Err(Error::Corrupt { .. } | Error::Schema { .. })
            );
            assert!(told, "{position} := {to}: {outcome:?}");
        }
    }
}

async fn read_object(bytes: impl Into<PutPayload>) -> Result<Vec<SeenRow>, Error> {
    let here = memory();
    put(&here, "drop/a.parquet", bytes).await;
    let catalog = catalog(&here);
    let planned = plan(&catalog, "drop", 2_000).await?;
    read_all(&catalog, &planned).await
}

#[tokio::test]
async fn an_object_that_lacks_bytes_of_its_middle_is_corrupt() {
    let whole = parquet(&galaxies(0..1000), INDEXED);
    // The footer stays, and names rows beyond the end of the file.
    let without_middle = [&whole[..4], &whole[whole.len() - 8_000..]].concat();
    let error = read_object(without_middle).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn an_empty_object_is_corrupt() {
    let error = read_object(Vec::new()).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

/// The bytes of the columns of a chunk.
fn held_bytes(chunk: &Chunk) -> usize {
    let galaxies = &chunk.galaxies;
    let mags = galaxies
        .mags
        .iter()
        .flatten()
        .map(|mag| mag.get_buffer_memory_size());
    galaxies.object_id.get_buffer_memory_size()
        + galaxies.ra.get_buffer_memory_size()
        + galaxies.dec.get_buffer_memory_size()
        + mags.sum::<usize>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chunks_that_are_held_keep_others_waiting() {
    let (here, splits) = (memory(), 24);
    let laid_out = LaidOut {
        row_group_rows: 5_000,
        page_rows: 500,
        offset_index: true,
    };
    put(
        &here,
        "drop/a.parquet",
        parquet(&galaxies(0..5_000 * splits), laid_out),
    )
    .await;
    let catalog = catalog(&here);
    // A decoded row has 44 bytes.
    let chunk_bytes = 5_000 * 44;
    let planned = plan(&catalog, "drop", chunk_bytes).await.unwrap();
    assert_eq!(planned.splits.clone().count(), splits as usize);
    let budget = Budget::new(6 * chunk_bytes);
    let (send, mut chunks) = mpsc::unbounded_channel();
    let held = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    for split in planned.splits.clone() {
        let (catalog, budget, send, held) =
            (catalog.clone(), budget.clone(), send.clone(), held.clone());
        tokio::spawn(async move {
            let emit = move |chunk: Chunk| {
                let now =
                    held.0.fetch_add(held_bytes(&chunk), Ordering::SeqCst) + held_bytes(&chunk);
                held.1.fetch_max(now, Ordering::SeqCst);
                send.send(chunk).unwrap();
            };
            catalog.read(&split, &budget, emit).await.unwrap();
        });
    }
    drop(send);
    // Chunks are kept until no more chunks come.
    let mut in_hand = Vec::new();
    while let Ok(Some(chunk)) =
        tokio::time::timeout(Duration::from_millis(300), chunks.recv()).await
    {
        in_hand.push(chunk);
    }
    assert!(
        (3..=6).contains(&in_hand.len()),
        "{} chunks of a sixth of the budget each",
        in_hand.len()
    );
    let mut rows: usize = 0;
    while let Some(chunk) = in_hand.pop() {
        rows += chunk.galaxies.rows;
        held.0.fetch_sub(held_bytes(&chunk), Ordering::SeqCst);
        drop(chunk);
        if rows < 5_000 * splits as usize && in_hand.is_empty() {
            in_hand.extend(chunks.recv().await);
        }
    }
    assert_eq!(rows, 5_000 * splits as usize, "all chunks come in the end");
    let most = held.1.load(Ordering::SeqCst) as u64;
    assert!(
        most <= budget.bytes() * 11 / 10,
        "{most} bytes were held of {}",
        budget.bytes()
    );
}
