//! Any survey: cutouts and magnitudes of any bands, in any order.
use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, FixedSizeListArray, Float32Array, ListArray, RecordBatch, StringArray,
        StructArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field},
};
use hubbleflow::{
    CutoutNeeds, Error, Inputs, Job, JobSettings, Model, ModelOutput, Needs, PlanSettings,
    RowSettings, Summary,
};
use tch::{Kind, Tensor};
use testkit::{
    galaxy_rows::{some_galaxies, with_column, write_parquet},
    program::Program,
    rows::{floats, ids, rows, strings, z_phot},
    survey::model,
    tree::{folder, text},
};

const PX: usize = 8;

/// A model that tells each of its planes and magnitudes from the others.
#[derive(Clone)]
pub struct Telling {
    id: String,
    needs: Needs,
}

impl Telling {
    pub fn of(cutouts: &[&str], mags: &[&str]) -> Self {
        Self {
            id: format!("telling of {}, {}", cutouts.concat(), mags.concat()),
            needs: Needs {
                cutouts: (!cutouts.is_empty()).then(|| CutoutNeeds {
                    bands: names(cutouts),
                    px: PX,
                }),
                mags: names(mags),
                mags_required: !mags.is_empty(),
                ..Needs::default()
            },
        }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Model for Telling {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        "telling"
    }

    fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The sum of the first pixels of the planes and of the magnitudes, each with a weight of its own.
    fn forward(
        &self,
        inputs: &Inputs,
        _wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, models::Error> {
        let pixels = inputs.cutouts.as_ref().map(|cutouts| {
            assert_eq!(cutouts.size()[2..], [PX as i64; 2]);
            cutouts.select(3, 0).select(2, 0)
        });
        let told = pixels.iter().chain(&inputs.mags).map(|of_band| {
            let weights = Tensor::arange(of_band.size()[1], (Kind::Float, of_band.device()));
            (of_band * (weights + 1.0)).sum_dim_intlist(1, false, Kind::Float)
        });
        let told: Tensor = told.reduce(|sum, more| sum + more).expect("an input");
        Ok(vec![told * 1e-3])
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

/// A pixel of a cutout.
fn pixel(row: usize, band: &str, place: usize) -> f32 {
    let band = f32::from(band.as_bytes()[0]);
    (row + 1) as f32 + band / 128.0 + place as f32 / 1024.0
}

/// The images of a row in these bands, one after the other.
fn images(row: usize, bands: &[&str]) -> Vec<f32> {
    let of_band = |band: &&str| {
        let band = (*band).to_owned();
        (0..PX * PX).map(move |place| pixel(row, &band, place))
    };
    bands.iter().flat_map(of_band).collect()
}

/// Good galaxies with flat cutouts in these bands.
pub fn galaxies(count: usize, bands: &[&str]) -> RecordBatch {
    let pixels: Vec<f32> = (0..count).flat_map(|row| images(row, bands)).collect();
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let length = (bands.len() * PX * PX) as i32;
    let cutouts = FixedSizeListArray::new(item, length, Arc::new(Float32Array::from(pixels)), None);
    with_column(&some_galaxies(count as i64), "cutout", Arc::new(cutouts))
}

/// Lists of `length` elements each.
fn lists(length: usize, elements: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new("item", elements.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(vec![length; elements.len() / length]);
    Arc::new(ListArray::new(item, offsets, elements, None))
}

/// The same galaxies with the Multimodal Universe's struct, whose names have a survey before the band.
fn galaxies_by_name(count: usize, bands: &[&str]) -> RecordBatch {
    let pixels: Vec<f32> = (0..count).flat_map(|row| images(row, bands)).collect();
    let lines = lists(PX, Arc::new(Float32Array::from(pixels)));
    let flux = lists(bands.len(), lists(PX, lines));
    let named = bands.iter().map(|band| format!("lsst-{band}"));
    let named = StringArray::from_iter_values(named.cycle().take(count * bands.len()));
    let columns = [
        ("flux", flux),
        ("band", lists(bands.len(), Arc::new(named))),
    ];
    let cutouts = StructArray::from(RecordBatch::try_from_iter(columns).unwrap());
    with_column(&some_galaxies(count as i64), "cutout", Arc::new(cutouts))
}

pub fn settings(rows: RowSettings) -> JobSettings {
    JobSettings {
        plan: PlanSettings {
            rows,
            ..PlanSettings::default()
        },
        ..JobSettings::default()
    }
}

pub fn run(catalog: &Path, out: &Path, model: Telling, bands: &[&str]) -> Result<Summary, Error> {
    let rows = RowSettings {
        bands: names(bands),
        ..RowSettings::default()
    };
    let job = Job::builder(&text(catalog), &text(out)).settings(settings(rows));
    job.own_model(model).build()?.run()
}

#[test]
fn the_planes_of_a_model_are_those_of_its_bands_whatever_the_catalog_holds() {
    let grz = || Telling::of(&["g", "r", "z"], &["z", "g"]);
    let ugriz = ["u", "g", "r", "i", "z"];
    let cases: [(RecordBatch, &[&str]); 6] = [
        (galaxies(5, &["g", "r", "z"]), &[]),
        (galaxies(5, &ugriz), &ugriz),
        (galaxies(5, &["z", "i", "r", "g"]), &["z", "i", "r", "g"]),
        (galaxies_by_name(5, &["g", "r", "z"]), &[]),
        (galaxies_by_name(5, &["y", "z", "r", "i", "g", "u"]), &[]),
        (galaxies_by_name(5, &["r", "z", "g"]), &ugriz),
    ];
    let mut all: Vec<BTreeMap<String, Option<u32>>> = Vec::new();
    for (galaxies, bands) in cases {
        let (catalog, out) = (folder(), folder());
        write_parquet(catalog.path().join("a.parquet"), &galaxies, 2);
        let summary = run(catalog.path(), out.path(), grz(), bands).unwrap();
        assert_eq!((summary.rows_written, summary.rows_rejected), (5, 0));
        all.push(z_phot(out.path().join("photoz")));
    }
    let galaxies = some_galaxies(5);
    let mags = ["z", "g"].map(|band| floats(&galaxies, &format!("mag_{band}")));
    for (row, id) in ids(&galaxies).iter().enumerate() {
        let weighted = |(place, value): (usize, f32)| (place + 1) as f32 * value;
        let pixels = ["g", "r", "z"].map(|band| pixel(row, band, 0));
        let pixels: f32 = pixels.into_iter().enumerate().map(weighted).sum();
        let mags = mags.iter().map(|mags| mags[row].unwrap());
        let mags: f32 = mags.enumerate().map(weighted).sum();
        let told = f32::from_bits(all[0][id].unwrap());
        assert!((told - 1e-3 * (pixels + mags)).abs() < 1e-6, "{told}");
    }
    assert!(all.iter().all(|of_case| *of_case == all[0]));
}

#[test]
fn a_band_that_the_catalog_lacks_is_named_before_anything_is_read() {
    // There is no such catalog, and that is not what the errors are about.
    let (catalog, out) = (Path::new("/no/such/catalog"), folder());
    let grz = || Telling::of(&["g", "r", "z"], &[]);
    let error = run(catalog, out.path(), grz(), &["u", "g"]).unwrap_err();
    assert!(error.is_usage());
    let expected = "--bands u,g, model telling: the model needs bands r, z, and the catalog's cutouts have u, g";
    assert_eq!(error.to_string(), expected);
    for (bands, words) in [
        (&["g", "r", "z", "g"][..], "band g is named twice"),
        (&["g", "", "r", "z"], "is no name of a band"),
    ] {
        let error = run(catalog, out.path(), grz(), bands).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains(words),
            "{error}"
        );
    }
    for command in ["plan", "run"] {
        let lacking = Program::on(command, "/no/such/catalog", &text(out.path()), model());
        let ended = lacking.with("--bands g,r,i,z").ends(2);
        ended.says(&["--bands g,r,i,z", "the model needs band u"]);
    }
    // Names in rows are found when the rows are read, and other columns when the drop is planned.
    let catalog = folder();
    write_parquet(
        catalog.path().join("named/a.parquet"),
        &galaxies_by_name(3, &["g", "r", "i"]),
        2,
    );
    let summary = run(catalog.path(), out.path(), grz(), &[]).unwrap();
    assert_eq!((summary.rows_written, summary.rows_rejected), (0, 3));
    let reasons = strings(&rows(out.path().join("rejects")), "reason");
    let reason = "cutout lacks bands z; it has lsst-g, lsst-r, lsst-i";
    assert!(reasons.iter().all(|said| said == reason), "{reasons:?}");
    let summary = run(
        catalog.path(),
        folder().path(),
        Telling::of(&["g", "r"], &["g", "y"]),
        &[],
    );
    let failures = summary.unwrap().failures;
    assert!(
        failures["named"][0].contains("no column `mag_y`;"),
        "{failures:?}"
    );
}

#[test]
fn a_cutout_of_another_number_of_bands_fails_its_drop_and_says_what_to_do() {
    let (catalog, out) = (folder(), folder());
    let five = galaxies(3, &["u", "g", "r", "i", "z"]);
    write_parquet(catalog.path().join("a.parquet"), &five, 2);
    let summary = run(
        catalog.path(),
        out.path(),
        Telling::of(&["g", "r", "z"], &[]),
        &[],
    );
    let failures = summary.unwrap().failures;
    let said = &failures["a.parquet"][0];
    for words in ["3 bands of 8x8 pixels or more", "with --bands"] {
        assert!(said.contains(words), "{said}");
    }
}
