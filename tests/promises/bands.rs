//! Any survey: cutouts and magnitudes of any bands, in any order, and fluxes in place of magnitudes.
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
    CutoutNeeds, Error, Inputs, Job, JobSettings, Model, Needs, PlanSettings, RowSettings, Summary,
    status::status, verify::verify,
};
use serde_json::Value;
use tch::{Kind, Tensor};
use testkit::{
    galaxy_rows::{some_galaxies, with_column, without_column, write_parquet},
    outputs::{committed, ledger, metrics_files},
    program::Program,
    rows::{floats, ids, rows, strings, z_phot},
    survey::{model, run_catalog},
    tree::{assert_same, folder, text},
};

const PX: usize = 8;

/// A model that tells each of its planes and magnitudes from the others.
#[derive(Clone)]
struct Telling {
    id: String,
    needs: Needs,
}

impl Telling {
    fn of(cutouts: &[&str], mags: &[&str]) -> Self {
        Self {
            id: format!("telling of {}, {}", cutouts.concat(), mags.concat()),
            needs: Needs {
                cutouts: (!cutouts.is_empty()).then(|| CutoutNeeds {
                    bands: names(cutouts),
                    px: PX,
                }),
                mags: names(mags),
                mags_required: !mags.is_empty(),
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
    fn forward(&self, inputs: &Inputs) -> Result<Tensor, models::Error> {
        let pixels = inputs.cutouts.as_ref().map(|cutouts| {
            assert_eq!(cutouts.size()[2..], [PX as i64; 2]);
            cutouts.select(3, 0).select(2, 0)
        });
        let told = pixels.iter().chain(&inputs.mags).map(|of_band| {
            let weights = Tensor::arange(of_band.size()[1], (Kind::Float, of_band.device()));
            (of_band * (weights + 1.0)).sum_dim_intlist(1, false, Kind::Float)
        });
        let told: Tensor = told.reduce(|sum, more| sum + more).expect("an input");
        Ok(told * 1e-3)
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
fn galaxies(count: usize, bands: &[&str]) -> RecordBatch {
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

/// The newest metrics file of an output.
fn last_metrics(out: &Path) -> Value {
    let mut files = metrics_files(out);
    let (_, newest) = files.pop_last().expect("a metrics file");
    serde_json::from_slice(&newest).unwrap()
}

fn settings(rows: RowSettings) -> JobSettings {
    JobSettings {
        plan: PlanSettings {
            rows,
            ..PlanSettings::default()
        },
        ..JobSettings::default()
    }
}

fn run(catalog: &Path, out: &Path, model: Telling, bands: &[&str]) -> Result<Summary, Error> {
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

/// The fluxes of magnitudes, dimmed by dust.
fn fluxes(mags: &[Option<f32>], zero_point: f64, transmission: f64) -> ArrayRef {
    let flux = |mag: &Option<f32>| {
        mag.map(|mag| (transmission * 10_f64.powf(0.4 * (zero_point - f64::from(mag)))) as f32)
    };
    Arc::new(mags.iter().map(flux).collect::<Float32Array>())
}

#[test]
fn fluxes_give_the_same_redshifts_as_their_magnitudes() {
    let (plain, plain_out) = (folder(), folder());
    let good = some_galaxies(12);
    write_parquet(plain.path().join("a.parquet"), &good, 10);
    run_catalog(&plain, &plain_out).ends(0);
    let expected = rows(plain_out.path().join("photoz"));
    for (zero_point, transmission) in [(22.5, 1.0), (22.5, 0.8), (31.4, 0.8)] {
        let mut galaxies = good.clone();
        for band in ["u", "g", "r", "i", "z"] {
            let name = format!("mag_{band}");
            let flux = fluxes(&floats(&good, &name), zero_point, transmission);
            // One name is the survey's own.
            let of_file = format!("{}_{band}", if band == "r" { "FLUX" } else { "flux" });
            galaxies = with_column(&without_column(&galaxies, &name), &of_file, flux);
            if transmission < 1.0 {
                let dust = Float32Array::from(vec![transmission as f32; 12]);
                let column = format!("mw_transmission_{band}");
                galaxies = with_column(&galaxies, &column, Arc::new(dust));
            }
        }
        let (catalog, out) = (folder(), folder());
        write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
        let zero_point = format!("--flux-zero-point {zero_point} --column flux_r=FLUX_r");
        run_catalog(&catalog, &out).with(&zero_point).ends(0);
        let photoz = rows(out.path().join("photoz"));
        assert_eq!(ids(&photoz), ids(&expected));
        for column in ["z_phot", "mag_r"] {
            let pairs = floats(&photoz, column).into_iter();
            for (found, expected) in pairs.zip(floats(&expected, column)) {
                let error = (found.unwrap() - expected.unwrap()).abs();
                assert!(error < 1e-5, "{column}: {error}");
            }
        }
        if transmission == 1.0 {
            // Without the flag the drop fails, and the message says which.
            let ended = run_catalog(&catalog, &folder())
                .with("--column flux_r=FLUX_r")
                .ends(3);
            ended.says(&["no column `mag_u`", "`FLUX_r`", "--flux-zero-point 22.5"]);
        }
    }
}

#[test]
fn a_flux_that_is_no_magnitude_rejects_its_row_and_the_entry_knows_the_zero_point() {
    let (catalog, out) = (folder(), folder());
    let flux = Float32Array::from(vec![Some(1.0), Some(0.0), Some(-2.5), None, Some(f32::NAN)]);
    let galaxies = without_column(&some_galaxies(5), "mag_g");
    let galaxies = with_column(&galaxies, "flux_g", Arc::new(flux));
    write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
    run_catalog(&catalog, &out)
        .with("--flux-zero-point 22.5 --bands u,g,r,i,z")
        .ends(0);
    let rejects = rows(out.path().join("rejects"));
    let end = "only a finite flux above 0 has a magnitude";
    let expected = ["0", "-2.5", "null", "NaN"].map(|flux| format!("flux_g is {flux}: {end}"));
    assert_eq!(strings(&rejects, "reason"), expected);
    assert_eq!(rows(out.path().join("photoz")).num_rows(), 1);
    let entry = &ledger(out.path())[0];
    assert_eq!(entry["settings"]["flux_zero_point"], 22.5);
    assert_eq!(
        entry["settings"]["bands"],
        serde_json::json!(["u", "g", "r", "i", "z"])
    );
    assert_eq!(entry["settings"]["reference_band"], "r");
    // `verify` predicts with the same settings.
    let again = Program::new(["verify", &text(out.path())]);
    let again = again.args([
        "--catalog",
        &text(catalog.path()),
        "--model",
        &text(model()),
    ]);
    let stdout = again.ends(0).stdout;
    assert!(stdout.contains("1 drops were predicted again"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_band_names_the_magnitude_everywhere() {
    let (catalog, out, exported) = (folder(), folder(), folder());
    let mut galaxies = some_galaxies(6);
    for (band, first) in [("Y", 18.6), ("J", 18.1)] {
        let mags: Float32Array = (0..6).map(|row| Some(first + row as f32 / 2.0)).collect();
        galaxies = with_column(&galaxies, &format!("mag_{band}"), Arc::new(mags));
    }
    write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
    let (place, model) = (catalog.path().to_owned(), Telling::of(&[], &["Y", "J"]));
    let go = |model: Telling, model_change: bool| {
        let mut settings = settings(RowSettings::default());
        (settings.plan.model_change, settings.plan.again) = (model_change, true);
        let job = Job::builder(&text(&place), &text(out.path())).settings(settings);
        tokio::task::block_in_place(|| job.own_model(model).build().unwrap().run())
    };
    assert_eq!(go(model, false).unwrap().rows_written, 6);
    let photoz = rows(out.path().join("photoz"));
    let mut mags = floats(&photoz, "mag_Y");
    mags.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(mags[0], Some(18.6));
    assert!(photoz.column_by_name("mag_r").is_none());

    let slices = last_metrics(out.path())["by_mag_Y"].clone();
    let bins: Vec<&String> = slices.as_object().unwrap().keys().collect();
    assert_eq!(bins, ["18.5", "19.0", "19.5", "20.0", "20.5", "21.0"]);
    let status = status(&text(out.path()), None, &[]).await.unwrap();
    let by_mag = status.metrics.unwrap().by_mag;
    assert_eq!(
        (by_mag.band.as_deref(), by_mag.slices.len()),
        (Some("Y"), 6)
    );
    let verified = verify(&text(out.path()), None, &[]).await.unwrap();
    assert!(
        verified.metrics_compared && verified.faults.is_empty(),
        "{verified}"
    );
    let page = exported.path().join("page.html");
    let report = Program::new(["report", &text(out.path()), "--html", &text(&page)]);
    report.ends(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Error against Y magnitude") && !page.contains("r magnitude"));
    let to = exported.path().join("rows");
    let export = hubbleflow::export::export(&text(out.path()), &text(&to), None, 1 << 20, &[]);
    assert_eq!(export.await.unwrap().rows, 6);
    assert_eq!(floats(&rows(&to), "mag_Y").len(), 6);

    // An output has one reference band, whatever the model.
    let before = committed(out.path());
    for (model, has) in [
        (Telling::of(&[], &["g", "r"]), "mag_r"),
        (Telling::of(&["u"], &[]), "no magnitude"),
    ] {
        let error = go(model, true).unwrap_err().to_string();
        let words =
            format!("holds predictions with mag_Y (drop a.parquet), and this model's have {has}");
        assert!(error.contains(&words), "{error}");
    }
    assert_same(&committed(out.path()), &before);
    assert_eq!(go(Telling::of(&[], &["Y"]), true).unwrap().rows_written, 6);
}

#[test]
fn a_model_without_magnitudes_writes_none() {
    let (catalog, out) = (folder(), folder());
    write_parquet(catalog.path().join("a.parquet"), &galaxies(4, &["r"]), 10);
    let summary = run(catalog.path(), out.path(), Telling::of(&["r"], &[]), &[]).unwrap();
    assert_eq!(summary.rows_written, 4);
    let photoz = rows(out.path().join("photoz"));
    let schema = photoz.schema();
    assert!(
        schema
            .fields()
            .iter()
            .all(|field| !field.name().starts_with("mag"))
    );
    let metrics = last_metrics(out.path());
    assert_eq!(metrics["all"]["n"], 4);
    let fields = metrics.as_object().unwrap().keys();
    assert!(
        fields.clone().all(|name| !name.starts_with("by_mag")),
        "{metrics}"
    );
    let page = out.path().with_extension("html");
    Program::new(["report", &text(out.path()), "--html", &text(&page)]).ends(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("magnitude"));
}
