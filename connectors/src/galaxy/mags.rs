//! The magnitudes of a file: where they are, and how they are read.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, Float32Array, Float32Builder};
use arrow::datatypes::{DataType, Schema};

use super::columns::{self, index_of};
use super::fluxes::{Fluxes, mags_of};
use super::lists::Lists;
use super::{Request, SchemaError, convert};

/// Where the magnitudes of a file are.
#[derive(Clone, Debug, Default)]
pub(super) struct MagPlaces {
    /// The source of each of the model's magnitudes.
    each: Vec<Option<MagPlace>>,
    /// The column of lists of magnitudes.
    list: Option<usize>,
    /// Columns of fluxes of bands without a magnitude, by their names in the file. They are not read.
    unread_fluxes: Vec<String>,
}

/// The source of one magnitude.
#[derive(Clone, Copy, Debug)]
enum MagPlace {
    Mag(usize),
    Flux {
        flux: usize,
        transmission: Option<usize>,
    },
}

/// The magnitudes, if the file has them, and the faults of magnitudes by row.
pub(super) type Mags = (Option<Vec<Float32Array>>, BTreeMap<usize, String>);

impl MagPlaces {
    /// Finds the magnitudes in the schema of a file.
    pub(super) fn find(schema: &Schema, request: &Request) -> Result<Self, SchemaError> {
        let (names, mags) = (&request.names, &request.mags);
        let place = |column: &str| index_of(schema, names.in_file(column));
        let mut found = Self::default();
        if mags.bands.is_empty() {
            return Ok(found);
        }
        let is_typed = |index: &usize| *schema.field(*index).data_type() != DataType::Null;
        found.list = place(columns::MAG)?.filter(is_typed);
        for band in &mags.bands {
            let mag = place(&columns::mag(band))?;
            let flux = match mag {
                Some(_) => None,
                None => place(&columns::flux(band))?,
            };
            let source = match (mag, flux, mags.flux_zero_point) {
                (Some(mag), ..) => Some(MagPlace::Mag(mag)),
                (None, Some(flux), Some(_)) => Some(MagPlace::Flux {
                    flux,
                    transmission: place(&columns::transmission(band))?,
                }),
                (None, Some(flux), None) => {
                    found.unread_fluxes.push(schema.field(flux).name().clone());
                    None
                }
                (None, None, _) => None,
            };
            found.each.push(source);
        }
        Ok(found)
    }

    /// Whether each of the model's magnitudes is there.
    pub(super) fn are_complete(&self) -> bool {
        self.list.is_some() || (!self.each.is_empty() && self.each.iter().all(Option::is_some))
    }

    /// Whether each of the model's magnitudes would be there if fluxes were read.
    pub(super) fn would_be_complete(&self) -> bool {
        let there = self.each.iter().flatten().count() + self.unread_fluxes.len();
        self.are_complete() || (!self.each.is_empty() && there == self.each.len())
    }

    /// Columns of fluxes that would be read with a zero point.
    pub(super) fn unread_fluxes(&self) -> &[String] {
        &self.unread_fluxes
    }

    /// The columns that are missing for the magnitudes of all bands.
    pub(super) fn missing(&self, request: &Request) -> Vec<String> {
        if self.list.is_some() {
            return Vec::new();
        }
        let column = match request.mags.flux_zero_point {
            Some(_) => columns::flux,
            None => columns::mag,
        };
        let bands = request.mags.bands.iter().zip(&self.each);
        let missing = bands.filter(|(_, place)| place.is_none());
        missing.map(|(band, _)| column(band)).collect()
    }

    /// The magnitudes that are read: those of single columns if all are there, else a list, else what is there.
    pub(super) fn wanted(mut self) -> Self {
        let is_mag = |place: &Option<MagPlace>| matches!(place, Some(MagPlace::Mag(_)));
        if self.each.iter().all(is_mag) {
            self.list = None;
        } else if self.list.is_some() {
            self.each.clear();
        }
        self
    }

    /// The columns of these magnitudes.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        let each = self.each.iter().flatten();
        let each = each.flat_map(|place| match *place {
            MagPlace::Mag(mag) => [Some(mag), None],
            MagPlace::Flux { flux, transmission } => [Some(flux), transmission],
        });
        each.chain([self.list]).flatten()
    }

    /// Reads the magnitudes of a batch of `rows` rows. `column` gives a column by its place in the file.
    pub(super) fn decode<'a>(
        &self,
        request: &Request,
        rows: usize,
        column: impl Fn(usize) -> (&'a str, &'a ArrayRef),
    ) -> Result<Mags, SchemaError> {
        let bands = &request.mags.bands;
        if let Some(list) = self.list {
            let (name, array) = column(list);
            return mag_list(name, array, bands);
        }
        let mut faults = BTreeMap::new();
        if self.each.iter().all(Option::is_none) {
            return Ok((None, faults));
        }
        let float32 = |place: usize| {
            let (name, array) = column(place);
            convert::float32(name, array)
        };
        let mut mags = Vec::with_capacity(bands.len());
        for (band, place) in bands.iter().zip(&self.each) {
            mags.push(match *place {
                None => Float32Array::new_null(rows),
                Some(MagPlace::Mag(mag)) => float32(mag)?,
                Some(MagPlace::Flux { flux, transmission }) => {
                    let fluxes = Fluxes {
                        band,
                        fluxes: float32(flux)?,
                        transmissions: transmission.map(&float32).transpose()?,
                    };
                    let zero_point = request.mags.flux_zero_point;
                    let zero_point =
                        zero_point.expect("invariant: fluxes are read only with a zero point");
                    mags_of(&fluxes, zero_point, &mut faults)
                }
            });
        }
        Ok((Some(mags), faults))
    }
}

/// Takes the magnitudes in `bands` from one column of lists. A list of another number of elements gives nulls and a fault of
/// its row.
pub(super) fn mag_list(
    column: &str,
    array: &ArrayRef,
    bands: &[String],
) -> Result<Mags, SchemaError> {
    let (count, names) = (bands.len(), bands.join(", "));
    let refused = || {
        let expected = format!("a list of {count} float32, the magnitudes in {names}");
        convert::refusal(column, array, &expected)
    };
    let (rows, elements) = Lists::open(array).ok_or_else(refused)?;
    if rows.fixed_length().is_some_and(|length| length != count) {
        return Err(refused());
    }
    let elements = convert::float32(column, &elements).map_err(|_| refused())?;
    let mag = |_| Float32Builder::with_capacity(array.len());
    let mut mags: Vec<Float32Builder> = (0..count).map(mag).collect();
    let mut faults = BTreeMap::new();
    for row in 0..array.len() {
        let places = rows.elements(row);
        let fault = match places.as_ref().map(ExactSizeIterator::len) {
            None => Some(format!("{column} is null")),
            Some(length) if length == count => None,
            Some(length) => Some(format!(
                "{column} is a list of {length}, not of the {count} magnitudes in {names}"
            )),
        };
        faults.extend(fault.map(|fault| (row, fault)));
        let places = places.filter(|places| places.len() == count);
        for (band, mag) in mags.iter_mut().enumerate() {
            let place = places.as_ref().map(|places| places.start + band);
            let valid = place.filter(|place| elements.is_valid(*place));
            mag.append_option(valid.map(|place| elements.value(place)));
        }
    }
    let mags = mags.iter_mut().map(Float32Builder::finish).collect();
    Ok((Some(mags), faults))
}
