//! Drops and their objects are found by name.
use connectors::{Catalog, DropBy, Location};
use futures::StreamExt;

use crate::{catalog, put, request};

async fn names(location: &Location, drop_by: DropBy) -> Vec<String> {
    let catalog = Catalog::new(location.clone(), drop_by, request());
    catalog
        .drops()
        .await
        .unwrap()
        .into_iter()
        .map(|drop| drop.name)
        .collect()
}

pub async fn drops_come_in_the_byte_order_of_their_names(here: &Location) {
    let folders = [
        "zebra",
        "Zebra",
        "a b",
        "a+b",
        "a=b",
        "50%",
        "50%25",
        "é",
        "2026-11-03",
        "a",
        "a.b",
        "2026-11-3",
    ];
    for folder in folders {
        put(
            here,
            &format!("{folder}/part é+ 1%.parquet"),
            folder.to_owned(),
        )
        .await;
    }
    put(here, "single.parquet", "x").await;
    put(here, "notes.txt", "not a drop").await;
    let mut sorted = folders.to_vec();
    sorted.push("single.parquet");
    sorted.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    assert_eq!(names(here, DropBy::Child).await, sorted, "{here:?}");
    let catalog = catalog(here);
    for drop in catalog.drops().await.unwrap() {
        let objects = catalog.objects(&drop).await.unwrap();
        let single = drop.name == "single.parquet";
        let path = if single {
            drop.name.clone()
        } else {
            format!("{}/part é+ 1%.parquet", drop.name)
        };
        assert_eq!(
            objects
                .iter()
                .map(|object| object.path.as_str())
                .collect::<Vec<_>>(),
            [path],
            "{here:?}"
        );
        assert_eq!(
            objects[0].bytes,
            if single { 1 } else { drop.name.len() as u64 },
            "{here:?}: {}",
            drop.name
        );
    }
}

pub async fn hidden_names_are_ignored(here: &Location) {
    let hidden = ["_x/a.parquet", ".x/a.parquet", "_y.parquet", ".y.parquet"];
    let parts = [
        "drop/_x.parquet",
        "drop/.x.parquet",
        "drop/in/_x/a.parquet",
        "drop/in/.x/a.parquet",
        "drop/_SUCCESS",
    ];
    let objects = [
        "drop/a.parquet",
        "drop/a/b.parquet",
        "drop/in/deeper/still/a.parquet",
        "drop/x_y.parquet",
    ];
    for path in hidden.iter().chain(&parts).chain(&objects) {
        put(here, path, "x").await;
    }
    let catalog = catalog(here);
    let drops = catalog.drops().await.unwrap();
    assert_eq!(
        drops
            .iter()
            .map(|drop| drop.name.as_str())
            .collect::<Vec<_>>(),
        ["drop"],
        "{here:?}"
    );
    let found = catalog.objects(&drops[0]).await.unwrap();
    assert_eq!(
        found
            .into_iter()
            .map(|object| object.path)
            .collect::<Vec<_>>(),
        objects,
        "{here:?}"
    );
}

pub async fn long_listings_are_read_whole(here: &Location) {
    let count = 1_050;
    let objects = (0..count).flat_map(|number| {
        [
            format!("d{number:04}/a.parquet"),
            format!("many/{number:04}.parquet"),
        ]
    });
    let puts: Vec<_> = objects
        .map(async |path| put(here, &path, "x").await)
        .collect();
    futures::stream::iter(puts)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let catalog = catalog(here);
    let drops = catalog.drops().await.unwrap();
    assert_eq!(drops.len(), count + 1, "{here:?}");
    assert_eq!(
        catalog.objects(&drops[count]).await.unwrap().len(),
        count,
        "{here:?}"
    );
}

pub async fn a_catalog_can_be_one_drop(here: &Location) {
    for path in [
        "Norder=0/Npix=4.parquet",
        "Norder=0/Dir=0/Npix=11.parquet",
        "_metadata.parquet",
        "b.parquet",
    ] {
        put(here, path, "x").await;
    }
    assert_eq!(names(here, DropBy::All).await, ["all"], "{here:?}");
    let catalog = Catalog::new(here.clone(), DropBy::All, request());
    let drops = catalog.drops().await.unwrap();
    let found = catalog
        .objects(&drops[0])
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.path);
    let expected = [
        "Norder=0/Dir=0/Npix=11.parquet",
        "Norder=0/Npix=4.parquet",
        "b.parquet",
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected, "{here:?}");
}
