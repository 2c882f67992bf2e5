//! Makes magnitudes of fluxes.

use std::collections::BTreeMap;

use arrow::array::{Array, Float32Array};

use super::columns;

/// The fluxes of a batch in one band, and the transmission of the Milky Way's dust at each object, if the file has it.
pub(super) struct Fluxes<'a> {
    pub band: &'a str,
    pub fluxes: Float32Array,
    pub transmissions: Option<Float32Array>,
}

/// The magnitudes of fluxes: `zero_point - 2.5 log10(flux / transmission)`. A flux without a magnitude gives a null, and a
/// fault of its row if the row has none yet.
pub(super) fn mags_of(
    fluxes: &Fluxes<'_>,
    zero_point: f64,
    faults: &mut BTreeMap<usize, String>,
) -> Float32Array {
    let mag = |row: usize| match fluxes.corrected(row) {
        Ok(flux) => Some((zero_point - 2.5 * flux.log10()) as f32),
        Err(fault) => {
            faults.entry(row).or_insert(fault);
            None
        }
    };
    (0..fluxes.fluxes.len()).map(mag).collect()
}

impl Fluxes<'_> {
    /// The flux of a row without the dust of the Milky Way.
    fn corrected(&self, row: usize) -> Result<f64, String> {
        let positive = |column: String, values: &Float32Array| match values.is_valid(row) {
            false => Err(format!("{column} is null")),
            true => match values.value(row) {
                value if value > 0.0 && value.is_finite() => Ok(f64::from(value)),
                value => Err(format!("{column} is {value}")),
            },
        };
        let flux = positive(columns::flux(self.band), &self.fluxes);
        let flux =
            flux.map_err(|fault| format!("{fault}: only a finite flux above 0 has a magnitude"))?;
        let Some(transmissions) = &self.transmissions else {
            return Ok(flux);
        };
        let transmission = positive(columns::transmission(self.band), transmissions);
        let transmission = transmission
            .map_err(|fault| format!("{fault}: only a transmission above 0 corrects a flux"))?;
        Ok(flux / transmission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flux_is_its_magnitude_or_says_why_not() {
        let fluxes = Fluxes {
            band: "r",
            fluxes: Float32Array::from(vec![
                Some(1.0),
                Some(100.0),
                Some(50.0),
                Some(0.0),
                Some(-0.25),
                None,
                Some(f32::NAN),
                Some(f32::INFINITY),
                Some(1.0),
            ]),
            transmissions: Some(Float32Array::from(vec![
                1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0,
            ])),
        };
        let mut faults = BTreeMap::from([(3, "another band was faulty".to_owned())]);
        let mags = mags_of(&fluxes, 22.5, &mut faults);
        let nothing = [None; 6];
        let expected: Vec<Option<f32>> = [Some(22.5), Some(17.5), Some(17.5)]
            .into_iter()
            .chain(nothing)
            .collect();
        assert_eq!(mags, Float32Array::from(expected));
        let end = "only a finite flux above 0 has a magnitude";
        let faults: Vec<String> = faults.into_values().collect();
        assert_eq!(
            faults,
            [
                "another band was faulty".to_owned(),
                format!("flux_r is -0.25: {end}"),
                format!("flux_r is null: {end}"),
                format!("flux_r is NaN: {end}"),
                format!("flux_r is inf: {end}"),
                "mw_transmission_r is 0: only a transmission above 0 corrects a flux".to_owned(),
            ]
        );
        let uncorrected = Fluxes {
            transmissions: None,
            ..fluxes
        };
        let mags = mags_of(&uncorrected, 31.4, &mut BTreeMap::new());
        assert_eq!(mags.value(2), (31.4 - 2.5 * 50_f64.log10()) as f32);
    }
}
