//! Examples of rows and the doors they leave through.
use arrow::datatypes::Schema;
use connectors::{
    galaxy::{CutoutRequest, FileKind, Galaxies, Layout, MagRequest, Request},
    part::{BLANK_BAND, Door, Z_SPEC_IGNORED},
};
use hubbleflow_operators::{
    Rules,
    validate::{flags, judge},
};
use models::{CutoutNeeds, Needs};

use crate::survey::{PX, RULES, Row, batch};

/// What a model takes that looks at cutouts of a side, at magnitudes, or at neither.
pub fn needs(cutout_px: Option<usize>, mags_required: bool) -> Needs {
    let bands = ["u", "g", "r", "i", "z"].map(str::to_owned).to_vec();
    Needs {
        cutouts: cutout_px.map(|px| CutoutNeeds {
            bands: bands.clone(),
            px,
        }),
        mags: bands,
        mags_required,
    }
}

pub fn both() -> Needs {
    needs(Some(1), true)
}

fn galaxies(rows: &[Row], needs: &Needs) -> Galaxies {
    let rows = batch(rows);
    let cutouts = needs.cutouts.as_ref();
    let cutouts = cutouts.map(|cutouts| CutoutRequest::new(&cutouts.bands, 1).unwrap());
    let mut mags = MagRequest::required(needs.mags.clone(), "r");
    mags.required = needs.mags_required;
    let request = Request {
        cutouts,
        mags,
        ..Request::default()
    };
    let schema: &Schema = rows.schema_ref();
    let layout = Layout::resolve(schema, &request).unwrap();
    // A reader reads the columns that are asked for.
    layout
        .decode(&rows.project(layout.columns()).unwrap())
        .unwrap()
}

pub fn doors(rows: &[Row], kind: FileKind, needs: Needs) -> Vec<Door> {
    judge(&galaxies(rows, &needs), kind, &rules(needs))
}

fn rules(needs: Needs) -> Rules {
    Rules {
        needs,
        ..RULES.clone()
    }
}

/// What spoils a row, and the reason that is to be given.
type Fault = (fn(&mut Row), &'static str);

/// What may be wrong with a row to predict, in the order in which it is looked for, and what is said of it.
fn faults() -> Vec<Fault> {
    vec![
        (|row| row.object_id = None, "object_id is null"),
        (|row| row.ra = None, "ra is null"),
        (|row| row.dec = None, "dec is null"),
        (
            |row| row.ra = Some(360.5),
            "ra 360.5, dec 20 is no position on the sky, in degrees",
        ),
        (
            |row| row.dec = Some(-90.25),
            "ra 180, dec -90.25 is no position on the sky, in degrees",
        ),
        (
            |row| row.ra = Some(f64::NAN),
            "ra NaN, dec 20 is no position on the sky, in degrees",
        ),
        (|row| row.mags[0] = None, "mag_u is null"),
        (
            |row| row.mags[1] = Some(-9999.0),
            "mag_g is -9999, not between 0 and 40",
        ),
        (
            |row| row.mags[2] = Some(0.0),
            "mag_r is 0, not between 0 and 40",
        ),
        (
            |row| row.mags[3] = Some(40.0),
            "mag_i is 40, not between 0 and 40",
        ),
        (
            |row| row.mags[4] = Some(f32::NAN),
            "mag_z is NaN, not between 0 and 40",
        ),
        (|row| row.cutout = None, "cutout is null"),
        (
            |row| row.cutout.as_mut().unwrap()[3] = None,
            "cutout has a null pixel",
        ),
        (
            |row| row.cutout.as_mut().unwrap()[19] = Some(f32::NAN),
            "cutout has a pixel that is not finite",
        ),
        (
            |row| row.cutout.as_mut().unwrap()[0] = Some(f32::INFINITY),
            "cutout has a pixel that is not finite",
        ),
    ]
}

#[test]
fn each_fault_has_its_reason() {
    for (fault, reason) in faults() {
        let mut row = Row::galaxy(1);
        fault(&mut row);
        let doors = doors(
            &[Row::galaxy(0), row, Row::galaxy(2)],
            FileKind::Galaxies,
            both(),
        );
        assert_eq!(
            doors,
            [
                Door::Predicted,
                Door::Rejected(reason.to_owned()),
                Door::Predicted
            ]
        );
    }
}

#[test]
fn of_several_faults_the_first_is_told() {
    let kinds = [
        &faults()[0..1],
        &faults()[1..2],
        &faults()[3..4],
        &faults()[6..7],
        &faults()[7..8],
        &faults()[11..12],
    ]
    .concat();
    for first in 0..kinds.len() {
        let mut row = Row::galaxy(1);
        kinds[first..]
            .iter()
            .rev()
            .for_each(|(fault, _)| fault(&mut row));
        // A null r.a. is told before a wrong one: the two cannot be in one row.
        if kinds[first].1 == "ra is null" {
            row.ra = None;
        }
        assert_eq!(
            doors(&[row], FileKind::Galaxies, both()),
            [Door::Rejected(kinds[first].1.to_owned())]
        );
    }
}

#[test]
fn what_the_model_does_not_look_at_is_not_judged() {
    let mut row = Row::galaxy(1);
    (row.mags, row.cutout) = ([None; 5], None);
    for (needs, door) in [
        (needs(None, false), Door::Predicted),
        (
            needs(None, true),
            Door::Rejected("mag_u is null".to_owned()),
        ),
        (
            needs(Some(1), false),
            Door::Rejected("cutout is null".to_owned()),
        ),
    ] {
        assert_eq!(
            doors(&[row.clone()], FileKind::Galaxies, needs.clone()),
            [door],
            "{needs:?}"
        );
    }
}

#[test]
fn a_small_cutout_is_told_by_its_size() {
    let rules = rules(needs(Some(32), true));
    let doors = judge(
        &galaxies(&[Row::galaxy(1)], &both()),
        FileKind::Galaxies,
        &rules,
    );
    assert_eq!(
        doors,
        [Door::Rejected(
            "cutout is 2x2 pixels, and the model looks at 32x32".to_owned()
        )]
    );
}

#[test]
fn a_withdrawn_row_needs_its_id_alone() {
    let nothing = Row {
        ra: None,
        dec: None,
        mags: [None; 5],
        cutout: None,
        z_spec: None,
        deleted: true,
        ..Row::galaxy(1)
    };
    let nobody = Row {
        object_id: None,
        ..nothing.clone()
    };
    let doors = doors(&[nothing, nobody], FileKind::Galaxies, both());
    assert_eq!(
        doors,
        [
            Door::Withdrawn,
            Door::Rejected("object_id is null".to_owned())
        ]
    );
}

#[test]
fn a_spec_z_teaches_where_it_is_a_redshift() {
    for (z_spec, door) in [
        (Some(0.1), Door::Learned),
        (Some(-0.001), Door::Learned),
        (Some(-0.01), Door::Learned),
        (Some(10.0), Door::Learned),
        (
            None,
            Door::Rejected("z_spec is null: the row teaches nothing".to_owned()),
        ),
        (
            Some(-1.0),
            Door::Rejected("z_spec is -1, which is no redshift".to_owned()),
        ),
        (
            Some(f32::NAN),
            Door::Rejected("z_spec is NaN, which is no redshift".to_owned()),
        ),
        (
            Some(f32::INFINITY),
            Door::Rejected("z_spec is inf, which is no redshift".to_owned()),
        ),
        (
            Some(99.0),
            Door::Rejected("z_spec is 99, which is no redshift".to_owned()),
        ),
        (
            Some(-0.999),
            Door::Rejected("z_spec is -0.999, which is no redshift".to_owned()),
        ),
        (
            Some(-0.0),
            Door::Rejected("z_spec is -0, which is no redshift".to_owned()),
        ),
    ] {
        // Nothing else is asked of such a row.
        let row = Row {
            ra: None,
            dec: None,
            mags: [None; 5],
            cutout: None,
            z_spec,
            ..Row::galaxy(1)
        };
        assert_eq!(doors(&[row], FileKind::SpecZ, both()), [door], "{z_spec:?}");
    }
}

#[test]
fn a_z_spec_that_is_ignored_sets_a_flag() {
    // 99, 9999, -0.999 and exactly 0 counted as redshifts: one 9999 makes the mean square error 1.4e7.
    for (z_spec, flag) in [
        (Some(0.1), 0),
        (Some(-0.01), 0),
        (Some(10.0), 0),
        (None, 0),
        (Some(f32::NAN), 0),
        (Some(0.0), Z_SPEC_IGNORED),
        (Some(-0.0), Z_SPEC_IGNORED),
        (Some(99.0), Z_SPEC_IGNORED),
        (Some(9999.0), Z_SPEC_IGNORED),
        (Some(-0.999), Z_SPEC_IGNORED),
        (Some(f32::NEG_INFINITY), Z_SPEC_IGNORED),
    ] {
        let row = Row {
            z_spec,
            ..Row::galaxy(1)
        };
        let galaxies = galaxies(&[row], &both());
        let rules = rules(both());
        let doors = judge(&galaxies, FileKind::Galaxies, &rules);
        assert_eq!(doors, [Door::Predicted]);
        assert_eq!(flags(&galaxies, &doors, &rules), [flag], "{z_spec:?}");
    }
}

#[test]
fn a_cutout_of_nothing_is_rejected_and_a_blank_band_is_told() {
    let rules = rules(needs(Some(PX), true));
    let told = |pixels: Vec<f32>| {
        let row = Row {
            cutout: Some(pixels.into_iter().map(Some).collect()),
            ..Row::galaxy(1)
        };
        let galaxies = galaxies(&[row], &both());
        let doors = judge(&galaxies, FileKind::Galaxies, &rules);
        let flags = flags(&galaxies, &doors, &rules);
        (doors[0].clone(), flags[0])
    };
    let varied: Vec<f32> = (0..5 * PX * PX)
        .map(|pixel| pixel as f32 / 8.0 - 1.0)
        .collect();
    assert_eq!(told(varied.clone()), (Door::Predicted, 0));
    let mut one_band = varied.clone();
    one_band[4..8].fill(0.25);
    assert_eq!(told(one_band), (Door::Predicted, BLANK_BAND));
    let blank = "cutout is blank: each of its bands has one value in all pixels";
    assert_eq!(told(vec![0.0; 20]), (Door::Rejected(blank.to_owned()), 0));
    let each_its_own = (0..20).map(|pixel| (pixel / 4) as f32).collect();
    assert_eq!(told(each_its_own), (Door::Rejected(blank.to_owned()), 0));
    for (pixel, shown) in [
        (1e30, "1e30"),
        (-1e20, "1e20"),
        (f32::MAX, "3.4028235e38"),
        (2e10, "2e10"),
    ] {
        let mut marked = varied.clone();
        marked[7] = pixel;
        let reason =
            format!("cutout has a pixel of {shown} nanomaggies, which is no flux: more than 1e10");
        assert_eq!(told(marked), (Door::Rejected(reason), 0));
    }
    let mut bright = varied;
    bright[7] = 1e10;
    assert_eq!(told(bright), (Door::Predicted, 0));
}
