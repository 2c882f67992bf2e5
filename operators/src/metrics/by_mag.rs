//! The metrics by magnitude. Their name in a metrics file has the band of the magnitude.
use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::Numbers;

/// The beginning of the name in a metrics file. The band follows.
const BY_MAG: &str = "by_mag_";

/// The metrics, or the shifts, by magnitude (AB) in the reference band: the field `by_mag_<band>` of a metrics file.
#[derive(Clone, Debug, PartialEq)]
pub struct ByMag<T = Numbers> {
    /// The reference band. If the predictions have no magnitudes, there is no band, and the file has no such field.
    pub band: Option<String>,
    /// The values, named by the lower edge of a bin of half a magnitude.
    pub slices: BTreeMap<String, T>,
}

impl<T> Default for ByMag<T> {
    fn default() -> Self {
        Self::new(None)
    }
}

impl<T> ByMag<T> {
    /// No values yet.
    pub(super) fn new(band: Option<&str>) -> Self {
        Self {
            band: band.map(str::to_owned),
            slices: BTreeMap::new(),
        }
    }
}

impl<T: Serialize> Serialize for ByMag<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        if let Some(band) = &self.band {
            fields.serialize_entry(&format!("{BY_MAG}{band}"), &self.slices)?;
        }
        fields.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByMag<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FindByMag(PhantomData))
    }
}

/// Finds the field among fields that a newer engine may have added.
struct FindByMag<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FindByMag<T> {
    type Value = ByMag<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the fields of a metrics file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ByMag<T>, A::Error> {
        let mut found = ByMag::default();
        while let Some(name) = fields.next_key::<String>()? {
            match name.strip_prefix(BY_MAG) {
                Some(band) => {
                    found.band = Some(band.to_owned());
                    found.slices = fields.next_value()?;
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}
