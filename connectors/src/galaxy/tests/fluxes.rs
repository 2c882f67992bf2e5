//! Tests that fluxes take the place of magnitudes where they are asked to.
use super::*;

/// A catalog without cutouts, with these columns of numbers.
fn numbers(columns: &[(&str, Vec<Option<f64>>)]) -> RecordBatch {
    let rows = columns[0].1.len();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let mut all: Vec<(String, ArrayRef)> = vec![("object_id".into(), ids)];
    for name in ["ra", "dec", "z_spec"] {
        all.push((name.into(), Arc::new(Float64Array::from(vec![0.5; rows]))));
    }
    for (name, values) in columns {
        let values: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        all.push(((*name).to_owned(), values));
    }
    let all = all.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(all).unwrap()
}

fn gr(flux_zero_point: Option<f64>) -> Request {
    Request {
        mags: MagRequest {
            flux_zero_point,
            ..MagRequest::required(["g", "r"], "r")
        },
        ..Request::default()
    }
}

#[test]
fn fluxes_are_read_where_a_magnitude_is_missing_and_a_zero_point_is_given() {
    let batch = numbers(&[
        ("mag_g", vec![Some(20.0), Some(21.0), Some(22.0)]),
        ("flux_g", vec![Some(1.0); 3]),
        ("flux_r", vec![Some(50.0), Some(-1.0), Some(50.0)]),
        ("mw_transmission_r", vec![Some(0.5), Some(0.5), None]),
    ]);
    let (layout, galaxies) = through_parquet(&batch, &gr(Some(22.5)));
    assert_eq!(layout.kind(), FileKind::Galaxies);
    let mags = galaxies.mags.unwrap();
    assert_eq!(mags[0], Float32Array::from(vec![20.0, 21.0, 22.0]));
    assert_eq!(mags[1], Float32Array::from(vec![Some(17.5), None, None]));
    assert_eq!(galaxies.reference_mag.unwrap(), mags[1]);
    let faults: Vec<_> = galaxies.mag_faults.into_iter().collect();
    let flux = "flux_r is -1: only a finite flux above 0 has a magnitude";
    let dust = "mw_transmission_r is null: only a transmission above 0 corrects a flux";
    assert_eq!(faults, [(1, flux.to_owned()), (2, dust.to_owned())]);
}

#[test]
fn a_list_of_magnitudes_comes_before_fluxes() {
    let batch = numbers(&[("flux_g", vec![Some(1.0)]), ("flux_r", vec![Some(1.0)])]);
    let list = lists(
        ListKind::Small,
        2,
        Arc::new(Float32Array::from(vec![18.0, 17.0])),
        &[],
    );
    let schema = batch.schema();
    let columns = schema.fields().iter().map(|field| field.name().clone());
    let columns = columns.zip(batch.columns().iter().cloned());
    let batch = RecordBatch::try_from_iter(columns.chain([("mag".to_owned(), list)])).unwrap();
    let (_, galaxies) = through_parquet(&batch, &gr(Some(22.5)));
    assert_eq!(galaxies.mags.unwrap()[1].value(0), 17.0);
}

/// A catalog of fluxes with z_spec was taken for spec-z alone where the model looks at magnitudes alone.
#[test]
fn fluxes_without_a_zero_point_are_refused_and_the_error_says_what_to_do() {
    let batch = numbers(&[
        ("FLUX_G", vec![Some(1.0)]),
        ("flux_r", vec![Some(1.0)]),
        ("flux_z", vec![Some(1.0)]),
    ]);
    let mut request = gr(None);
    request.names = ColumnNames::parse(["flux_g=FLUX_G"]).unwrap();
    let error = Layout::resolve(&batch.schema(), &request).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("no column `mag_g`, `mag_r`;"), "{said}");
    let advice = "It has fluxes (`FLUX_G`, `flux_r`): to make magnitudes of them, give the magnitude of a flux of 1, --flux-zero-point 22.5 for nanomaggies, or 31.4 for nJy.";
    assert!(said.contains(advice), "{said}");

    request.mags.flux_zero_point = Some(31.4);
    let (_, galaxies) = through_parquet(&batch, &request);
    assert_eq!(galaxies.mags.unwrap()[0].value(0), 31.4);

    request.mags = MagRequest::required(["g", "i"], "g");
    request.mags.flux_zero_point = Some(22.5);
    let mut lacking = batch.clone();
    lacking.remove_column(3);
    let error = Layout::resolve(&lacking.schema(), &request).unwrap_err();
    assert!(
        error.to_string().starts_with("no column `flux_i`;"),
        "{error}"
    );
}
