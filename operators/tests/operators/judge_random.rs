//! Random rows: what is predicted is fit for prediction, and the rest has a reason.
use connectors::{
    galaxy::{FLUX_MAX_NMGY, FileKind},
    part::Door,
    sky,
};
use proptest::prelude::*;

use crate::{
    judge::{both, doors},
    survey::{PX, Row},
};

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![8 => 0.1_f32..39.0, 1 => any::<f32>(), 1 => prop::sample::select(vec![0.0, 40.0, -9999.0, f32::NAN])]
}

fn row() -> impl Strategy<Value = Row> {
    let position = (
        prop::option::weighted(0.95, -10.0..380.0_f64),
        prop::option::weighted(0.95, -95.0..95.0_f64),
    );
    let mags = prop::array::uniform5(prop::option::weighted(0.98, number()));
    let pixel = prop::option::weighted(0.999, prop_oneof![99 => -1e9_f32..1e9, 1 => any::<f32>()]);
    let cutout = prop::option::weighted(0.95, prop::collection::vec(pixel, 5 * PX * PX));
    (
        prop::option::weighted(0.95, any::<i64>()),
        position,
        mags,
        cutout,
        prop::bool::weighted(0.05),
    )
        .prop_map(|(object_id, (ra, dec), mags, cutout, deleted)| Row {
            object_id,
            ra,
            dec,
            mags,
            cutout,
            z_spec: None,
            deleted,
        })
}

/// Whether a row is fit to be predicted, in other words than the operator's.
fn is_fit(row: &Row) -> bool {
    let on_sky = row
        .ra
        .zip(row.dec)
        .is_some_and(|(ra, dec)| sky::on_sky(ra, dec));
    let mags = row
        .mags
        .iter()
        .all(|mag| mag.is_some_and(|mag| 0.0 < mag && mag < 40.0));
    let cutout = row
        .cutout
        .iter()
        .flatten()
        .filter(|pixel| pixel.is_some_and(|pixel| pixel.abs() <= FLUX_MAX_NMGY))
        .count()
        == 5 * PX * PX;
    on_sky && mags && cutout
}

proptest! {
    #[test]
    fn what_is_predicted_is_fit_and_the_rest_has_a_reason(rows in prop::collection::vec(row(), 0..20)) {
        let doors = doors(&rows, FileKind::Galaxies, both());
        prop_assert_eq!(doors.len(), rows.len());
        for (row, door) in rows.iter().zip(doors) {
            match door {
                Door::Predicted => prop_assert!(row.object_id.is_some() && !row.deleted && is_fit(row), "{:?}", row),
                Door::Withdrawn => prop_assert!(row.object_id.is_some() && row.deleted),
                Door::Learned => prop_assert!(false, "galaxies to predict teach nothing"),
                Door::Rejected(reason) => prop_assert!(row.object_id.is_none() || (!row.deleted && !is_fit(row)), "{}: {:?}", reason, row),
            }
        }
    }
}
