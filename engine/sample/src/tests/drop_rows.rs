//! The rows of each drop.

use super::*;

#[tokio::test]
async fn drops_have_the_shares_of_rows_in_the_settings() {
    let flags = "--galaxies 1200 --corrections 0.05 --withdrawals 0.02 --bad-rows 0.01";
    let (files, summary) = make(flags).await;
    let drops: Vec<Vec<ReadRow>> = ["survey/drop-0001", "survey/drop-0002", "survey/drop-0003"]
        .map(|drop| rows(&read(&files, drop)))
        .into();
    let mut first_rows: HashMap<i64, ReadRow> = HashMap::new();
    let (mut corrections, mut withdrawals, mut bad) = (0, 0, 0);
    for drop in &drops {
        let ids: HashSet<i64> = drop.iter().map(|row| row.object_id).collect();
        assert_eq!(ids.len(), drop.len(), "an object is twice in a drop");
        assert!(ids.iter().all(|&id| id >= 0));
        for row in drop {
            match first_rows.get(&row.object_id) {
                Some(_) if row.is_withdrawn => withdrawals += 1,
                Some(first) => {
                    corrections += 1;
                    assert!(!row.is_bad());
                    assert_eq!((row.z_spec, row.parent), (first.z_spec, first.parent));
                    assert_ne!(row.cutout, first.cutout);
                    assert_ne!(row.mags, first.mags);
                }
                None => bad += u64::from(row.is_bad()),
            }
        }
        first_rows.extend(drop.iter().map(|row| (row.object_id, row.clone())));
    }
    assert_eq!(first_rows.len(), 1_200);
    let rows = drops.iter().map(|drop| drop.len() as u64).sum::<u64>();
    assert_eq!(
        (rows, corrections, withdrawals, bad),
        (
            summary.rows,
            summary.corrections,
            summary.withdrawals,
            summary.bad_rows
        )
    );
    let later_rows = (drops[1].len() + drops[2].len()) as f64;
    assert!((corrections as f64 / later_rows - 0.05).abs() < 0.003);
    assert!((withdrawals as f64 / later_rows - 0.02).abs() < 0.003);
    assert!((bad as f64 / rows as f64 - 0.01).abs() < 0.001);
}

#[tokio::test]
async fn all_faults_occur_in_turn() {
    let (files, summary) = make("--galaxies 120 --bad-rows 0.1").await;
    let all = rows(&read(&files, "survey"));
    let count = |is: &dyn Fn(&ReadRow) -> bool| all.iter().filter(|row| is(row)).count();
    let any_pixel = |row: &ReadRow, is: fn(f32) -> bool| row.cutout.iter().any(|&pixel| is(pixel));
    assert_eq!(summary.bad_rows, 12);
    assert_eq!(count(&|row| any_pixel(row, f32::is_nan)), 2);
    assert_eq!(count(&|row| any_pixel(row, f32::is_infinite)), 2);
    assert_eq!(count(&|row| row.mags[0] == -9999.0), 2);
    assert_eq!(count(&|row| row.mags[4] == 0.0), 2);
    assert_eq!(count(&|row| row.position.1 == 95.0), 2);
    assert_eq!(count(&|row| row.position.0.is_nan()), 2);
}

#[tokio::test]
async fn spec_z_drops_have_the_redshifts_that_image_drops_lack() {
    let flags = "--galaxies 600 --corrections 0 --without-spec-z 0.4 --specz-drops 2";
    let (files, summary) = make(flags).await;
    let image_rows: Vec<ReadRow> = (1..=3)
        .flat_map(|drop| rows(&read(&files, &format!("survey/drop-000{drop}"))))
        .collect();
    let lacking: HashSet<i64> = image_rows
        .iter()
        .filter(|row| row.z_spec.is_none())
        .map(|row| row.object_id)
        .collect();
    assert!((lacking.len() as f64 / 600.0 - 0.4).abs() < 0.06);
    let mut brought = HashSet::new();
    for drop in ["survey/drop-0004-specz", "survey/drop-0005-specz"] {
        let batches = read(&files, drop);
        let before = brought.len();
        for batch in &batches {
            assert_eq!(batch.num_columns(), 2);
            let ids = batch.column(0).as_primitive::<Int64Type>();
            brought.extend(ids.values().iter().copied());
        }
        assert!(brought.len() > before + 80, "{drop} is thin");
    }
    assert_eq!(brought, lacking);
    assert_eq!(summary.specz_rows, lacking.len() as u64);
    assert_eq!(summary.rows_without_spec_z, lacking.len() as u64);
}

#[tokio::test]
async fn spec_z_drops_repeat_a_tenth_if_no_redshift_is_missing() {
    let (files, summary) = make("--galaxies 1000 --specz-drops 1").await;
    assert!(
        (70..130).contains(&summary.specz_rows),
        "{}",
        summary.specz_rows
    );
    let known: HashMap<i64, f32> = (1..=3)
        .flat_map(|drop| rows(&read(&files, &format!("survey/drop-000{drop}"))))
        .map(|row| (row.object_id, row.z_spec.unwrap()))
        .collect();
    for batch in read(&files, "survey/drop-0004-specz") {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let z_spec = batch.column(1).as_primitive::<Float32Type>();
        for (id, z_again) in ids.values().iter().zip(z_spec.values()) {
            assert!((z_again - known[id]).abs() < 1e-3);
        }
    }
}

#[tokio::test]
async fn a_galaxy_is_the_same_in_any_number_of_drops_and_at_any_size() {
    let truths = |files: &Files| -> BTreeMap<i64, (i32, [f32; 5])> {
        rows(&read(files, "survey"))
            .into_iter()
            .map(|row| (row.object_id, (row.parent, row.mags)))
            .collect()
    };
    let flags = "--galaxies 60 --corrections 0 --bad-rows 0";
    let (three, _) = make(flags).await;
    let (one, _) = make(&format!("{flags} --drops 1")).await;
    let (small, _) = make_on(
        2,
        &SampleSettings {
            px: 8,
            ..settings(flags)
        },
    )
    .await
    .unwrap();
    assert_eq!(truths(&three), truths(&one));
    assert_eq!(truths(&three), truths(&small));
}
