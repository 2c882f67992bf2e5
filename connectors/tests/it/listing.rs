//! Tests listings: an invalid name, link or marker affects only its own drop, and is always reported.
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use hubbleflow_connectors::{Catalog, DropBy, ListedDrops, Location, listed_drop::list_drops};
use object_store::ObjectStoreExt;

use testkit::*;

/// Makes a catalog in a folder of this machine with these files of one byte each.
fn folder(files: &[&str]) -> (tempfile::TempDir, Location) {
    let folder = tempfile::Builder::new().prefix("catalog").tempdir();
    let folder = folder.unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let place = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
    (folder, place)
}

async fn see(place: &Location) -> ListedDrops {
    list_drops(place, DropBy::Child).await.unwrap()
}

/// The names of the drops that can be read, and of the drops that cannot be read.
fn sorted(seen: &ListedDrops) -> (Vec<&str>, Vec<&str>) {
    let name = |bad: bool| {
        let drops = seen
            .drops
            .iter()
            .filter(move |drop| drop.listing.fault.is_some() == bad);
        drops.map(|drop| drop.listing.name.as_str()).collect()
    };
    (name(false), name(true))
}

fn paths(seen: &ListedDrops, drop: usize) -> Vec<&str> {
    seen.drops[drop]
        .objects
        .iter()
        .map(|object| object.path.as_str())
        .collect()
}

// Regression: one such name ended the whole run, and ended a watch again and again.
#[tokio::test]
async fn a_name_that_cannot_be_taken_fails_its_drop_alone() {
    let (folder, place) = folder(&[
        "good/a.parquet",
        "tab/a\tb.parquet",
        "hidden/_x\t",
        "hidden/a.parquet",
    ]);
    let bytes = folder.path().join("bytes");
    fs::create_dir(&bytes).unwrap();
    fs::write(bytes.join(OsStr::from_bytes(b"\xff.parquet")), "x").unwrap();
    fs::create_dir(folder.path().join(OsStr::from_bytes(b"\xfe"))).unwrap();
    let seen = see(&place).await;
    assert_eq!(
        sorted(&seen),
        (vec!["good", "hidden"], vec!["\\xfe", "bytes", "tab"])
    );
}

// Regression: a broken link was skipped silently, and a loop of links ended the run.
#[tokio::test]
async fn a_link_that_leads_nowhere_fails_its_drop_alone() {
    let (folder, place) = folder(&[
        "good/a.parquet",
        "lost/a.parquet",
        "loop/a.parquet",
        "far/in/a.parquet",
    ]);
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    };
    link(Path::new("/nowhere/b.parquet"), "lost/b.parquet");
    link(Path::new(".."), "loop/back");
    link(Path::new("itself"), "loop/itself");
    link(Path::new("/nowhere/disk"), "unmounted");
    link(&folder.path().join("far/in"), "linked");
    let seen = see(&place).await;
    assert_eq!(
        sorted(&seen),
        (
            vec!["far", "good", "linked"],
            vec!["loop", "lost", "unmounted"]
        )
    );
    let lost = seen
        .drops
        .iter()
        .find(|drop| drop.listing.name == "lost")
        .unwrap();
    let fault = lost.listing.fault.as_ref().unwrap();
    assert!(
        fault.contains("lost/b.parquet: is a link to /nowhere/b.parquet"),
        "{fault}"
    );
    assert!(plan(&catalog(&place), "lost", 1 << 20).await.is_err());
}

#[tokio::test]
async fn a_listed_file_has_the_etag_that_the_store_gives_it() {
    let (_folder, place) = folder(&["drop/a.parquet"]);
    let seen = see(&place).await;
    let meta = place
        .store
        .head(&place.path("drop/a.parquet").unwrap())
        .await
        .unwrap();
    assert_eq!(seen.drops[0].objects[0].etag, meta.e_tag);
}

// Regression: a marker beside its folder was read as an object of the same name.
#[tokio::test]
async fn markers_of_folders_are_no_objects() {
    let place = memory();
    for folder in ["2024.parquet", "2024.parquet/in.parquet"] {
        put(&place, folder, "").await;
    }
    put(&place, "2024.parquet/in.parquet/a.parquet", "x").await;
    let seen = see(&place).await;
    assert_eq!(sorted(&seen), (vec!["2024.parquet"], vec![]));
    assert_eq!(paths(&seen, 0), ["2024.parquet/in.parquet/a.parquet"]);
}

#[tokio::test]
async fn a_folder_and_an_object_of_one_name_fail_alone() {
    let place = memory();
    for path in ["good/a.parquet", "x.parquet", "x.parquet/a.parquet"] {
        put(&place, path, "x").await;
    }
    assert_eq!(
        sorted(&see(&place).await),
        (vec!["good"], vec!["x.parquet"])
    );
}

// Regression: two of these files were read, and the others were skipped silently.
#[tokio::test]
async fn a_file_is_read_or_named() {
    let (_folder, place) = folder(&[
        "drop/1.parquet",
        "drop/2.pq",
        "drop/3.parq",
        "drop/4.PARQUET",
        "drop/5.parquet.gz",
        "drop/6.snappy.parquet",
        "drop/7.parquet.snappy",
        "drop/8.pqt",
        "drop/9",
        "drop/_metadata",
        "drop/.1.parquet.crc",
        "drop/1.parquet.crc",
        "part-0",
    ]);
    let seen = see(&place).await;
    let read = [
        "drop/1.parquet",
        "drop/2.pq",
        "drop/3.parq",
        "drop/4.PARQUET",
        "drop/6.snappy.parquet",
        "drop/8.pqt",
    ];
    assert_eq!(paths(&seen, 0), read);
    assert_eq!(
        seen.drops[0].ignored,
        ["drop/5.parquet.gz", "drop/7.parquet.snappy", "drop/9"]
    );
    assert_eq!(seen.ignored, ["part-0"]);
}

// A tool that copies files by name copies `_SUCCESS` before the names that sort after it.
#[tokio::test]
async fn success_counts_while_nothing_is_newer() {
    let (folder, place) = folder(&["drop/0.parquet"]);
    let write = |name: &str| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(folder.path().join(name), "x").unwrap();
    };
    write("drop/_SUCCESS");
    assert!(see(&place).await.drops[0].is_whole);
    write("drop/a.parquet");
    // The times after a copy that keeps the times of its source.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("drop/a.parquet"))
        .unwrap();
    file.set_modified(old).unwrap();
    assert!(!see(&place).await.drops[0].is_whole);
    write("drop/_SUCCESS");
    write("drop/._SUCCESS.crc");
    assert!(see(&place).await.drops[0].is_whole);
}

// Regression: the thumbnail, margins and indexes were read as rows.
#[tokio::test]
async fn of_a_hats_collection_the_tiles_of_the_main_table_are_read() {
    let tile = "dataset/Norder=0/Dir=0/Npix=4.parquet";
    let thumbnail = "dataset/data_thumbnail.parquet";
    let of = |table: &str, path: &str| format!("{table}/{path}");
    let files = [
        of("sky", tile),
        of("sky", thumbnail),
        of("sky", "hats.properties"),
        of("sky", "dataset/_metadata"),
        of("sky", "partition_info.csv"),
        of("sky_margin", tile),
        of("sky_margin", "hats.properties"),
        of("sky_index", "dataset/index/part.0.parquet"),
    ];
    let (folder, place) = folder(&files.each_ref().map(String::as_str));
    let properties = "obs_collection=sky\nhats_primary_table_url = sky\n";
    fs::write(folder.path().join("collection.properties"), properties).unwrap();
    let seen = list_drops(&place, DropBy::All).await.unwrap();
    assert_eq!(paths(&seen, 0), [of("sky", tile)]);
    assert_eq!(
        seen.drops[0].ignored,
        [
            "sky/dataset/data_thumbnail.parquet",
            "sky_index/",
            "sky_margin/"
        ]
    );
    let error = list_drops(&place, DropBy::Child)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("--drop-by all"), "{error}");
    // The main table as a catalog.
    let main = below(&place, "sky");
    assert_eq!(
        paths(&list_drops(&main, DropBy::All).await.unwrap(), 0),
        [tile]
    );
}

// Readers replace the column with the value from the folder's name.
#[tokio::test]
async fn a_drop_named_like_a_partition_is_refused() {
    let place = memory();
    put(
        &place,
        "object_id=7/a.parquet",
        parquet(
            &galaxies(0..4),
            LaidOut {
                row_group_rows: 4,
                page_rows: 4,
                offset_index: true,
            },
        ),
    )
    .await;
    let refused = plan(&catalog(&place), "object_id=7", 1 << 20)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("partition"), "{refused}");
}

#[tokio::test]
async fn a_file_is_no_catalog() {
    let (_folder, place) = folder(&["a.parquet"]);
    let file = Location::open(
        place
            .folder
            .as_ref()
            .unwrap()
            .join("a.parquet")
            .to_str()
            .unwrap(),
        &[],
    );
    let error = list_drops(&file.unwrap(), DropBy::Child)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("is a file"), "{error}");
    let there = memory();
    put(&there, "a.parquet", "x").await;
    let object = Location {
        prefix: there.path("a.parquet").unwrap(),
        ..there
    };
    assert!(list_drops(&object, DropBy::Child).await.is_err());
}

#[tokio::test]
async fn what_is_new_is_found_without_the_rest() {
    let (folder, place) = folder(&["a/a.parquet", "b.parquet"]);
    let catalog = Catalog::new(place.clone(), DropBy::Child, request());
    let known = ["a", "b.parquet"].map(str::to_owned).into_iter().collect();
    assert!(catalog.list_new_drops(&known).await.unwrap().is_empty());
    fs::create_dir(folder.path().join("c")).unwrap();
    fs::write(folder.path().join("c/a.parquet"), "x").unwrap();
    let new = catalog.list_new_drops(&known).await.unwrap();
    assert_eq!(
        new.iter()
            .map(|new| new.listing.name.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
    for name in ["a", "b.parquet", "c"] {
        let all = see(&place).await.drops;
        let whole = all
            .into_iter()
            .find(|drop| drop.listing.name == name)
            .unwrap();
        let alone = catalog.list_drop(name).await.unwrap().unwrap();
        assert_eq!(alone.fingerprint, whole.fingerprint, "{name}");
    }
    assert!(catalog.list_drop("d").await.unwrap().is_none());
}
