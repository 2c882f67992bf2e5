//! A Parquet object of a drop, which is planned and read.
#![no_main]
use std::sync::Arc;

use connectors::{
    Catalog, DropBy,
    budget::Budget,
    galaxy::{CutoutRequest, MagRequest, Request},
};
use fuzz::{let_decoders_panic, place, runtime};
use libfuzzer_sys::fuzz_target;

/// Upper bound on the bytes in flight.
const MEMORY_BYTES: u64 = 200_000_000;

fuzz_target!(init: let_decoders_panic(), |data: &[u8]| {
    runtime().block_on(async {
        let location = place(&[("drop/part.parquet", data)]).await;
        let bands = ["g", "r", "z"].map(str::to_owned);
        let cutouts = CutoutRequest::new(&bands, 2).expect("three names of bands");
        let mags = MagRequest {
            flux_zero_point: Some(22.5),
            ..MagRequest::required(bands, "r")
        };
        let request = Request {
            keep: vec!["kept".to_owned()],
            cutouts: Some(cutouts),
            mags,
            ..Request::default()
        };
        let catalog = Arc::new(Catalog::new(location, DropBy::Child, request));
        let budget = Budget::new(MEMORY_BYTES);
        for drop in catalog.drops().await.expect("the store is in memory") {
            let Ok(plan) = catalog.plan(&drop, "", 0, 25_000_000, 128).await else {
                continue;
            };
            for split in plan.splits {
                let _ = catalog.read(&split, &budget, |_chunk| {}).await;
            }
        }
    });
});
