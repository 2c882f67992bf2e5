//! A range of an object is that part of the whole object.
use std::ops::Range;

use connectors::Location;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStoreExt};
use proptest::prelude::*;
use testkit::{LaidOut, galaxies, memory, parquet, put};

use super::replayed;

const PATH: &str = "pass-000001-drop/a.parquet";

async fn replay_of(rows: i64, laid_out: LaidOut) -> Location {
    let place = memory();
    let file = parquet(&galaxies(0..rows), laid_out);
    put(&place, "drop/a.parquet", file).await;
    replayed(&place, 100_000_000).await
}

async fn range(replay: &Location, range: Range<u64>) -> bytes::Bytes {
    let path = replay.path(PATH).unwrap();
    replay.store.get_range(&path, range).await.unwrap()
}

/// Such a range came as a stream of small pieces, which took some hundred megabytes of the heap.
#[tokio::test]
async fn a_range_of_a_local_file_is_read_from_the_file() {
    let laid_out = LaidOut {
        row_group_rows: 300,
        page_rows: 50,
        offset_index: true,
    };
    let (folder, file) = (
        tempfile::tempdir().unwrap(),
        parquet(&galaxies(0..1000), laid_out),
    );
    std::fs::create_dir(folder.path().join("drop")).unwrap();
    std::fs::write(folder.path().join("drop/a.parquet"), &file).unwrap();
    let place = Location::open(&folder.path().display().to_string(), &[]).unwrap();
    let replay = replayed(&place, 100_000_000).await;
    let get = async |range| {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..Default::default()
        };
        let path = replay.path(PATH).unwrap();
        replay.store.get_opts(&path, options).await.unwrap()
    };
    let answer = get(7..3000).await;
    assert!(matches!(answer.payload, GetResultPayload::File(..)));
    assert!(answer.bytes().await.unwrap() == file[7..3000]);
    let end = file.len();
    let across = get(end as u64 - 10..end as u64 + 10).await;
    assert!(across.bytes().await.unwrap()[..10] == file[end - 10..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_of_an_object_makes_the_whole(
        rows in 1_i64..3000,
        row_group_rows in 100_usize..2000,
        page_rows in 10_usize..500,
        offset_index: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let laid_out = LaidOut { row_group_rows, page_rows, offset_index };
            let replay = replay_of(rows, laid_out).await;
            let whole = replay.read(PATH).await.unwrap();
            let size = replay.store.head(&replay.path(PATH).unwrap()).await.unwrap().size;
            prop_assert_eq!(whole.len() as u64, size);
            let mut cuts: Vec<u64> = cuts.iter().map(|cut| cut.index(whole.len()) as u64).collect();
            cuts.extend([0, size]);
            cuts.sort_unstable();
            cuts.dedup();
            for cut in cuts.windows(2) {
                let part = &whole[cut[0] as usize..cut[1] as usize];
                prop_assert!(range(&replay, cut[0]..cut[1]).await == part);
            }
            Ok(())
        })?;
    }
}
