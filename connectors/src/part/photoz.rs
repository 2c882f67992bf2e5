//! The columns of `photoz/`.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, FieldRef, Metadata},
    error::ArrowError,
};

use super::columns::{
    REFERENCE_MAG, Source, Z_HIGH68, Z_HIGH95, Z_LOW68, Z_LOW95, Z_QUANTILES, column,
};
use crate::galaxy::mag_column;

/// The columns of `photoz/` in their order: name in pieces, unit, UCD and description. Redshifts have no unit.
const PHOTOZ: [(&str, &str, &str, &str); 15] = [
    (
        "object_id",
        "",
        "meta.id;meta.main",
        "the object's id in the catalog",
    ),
    ("ra", "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    ("dec", "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    (
        "_healpix_29",
        "",
        "pos.healpix",
        "HEALPix cell of order 29, nested",
    ),
    (
        "z_phot",
        "",
        "src.redshift.phot;meta.main",
        "predicted redshift",
    ),
    (
        Z_LOW68,
        "",
        "src.redshift.phot;stat.min",
        "lower bound of the interval that the model gives for 68% of the objects: the quantile at level 0.16",
    ),
    (
        Z_HIGH68,
        "",
        "src.redshift.phot;stat.max",
        "upper bound of the interval that the model gives for 68% of the objects: the quantile at level 0.84",
    ),
    (
        Z_LOW95,
        "",
        "src.redshift.phot;stat.min",
        "lower bound of the interval that the model gives for 95% of the objects: the quantile at level 0.025",
    ),
    (
        Z_HIGH95,
        "",
        "src.redshift.phot;stat.max",
        "upper bound of the interval that the model gives for 95% of the objects: the quantile at level 0.975",
    ),
    (
        Z_QUANTILES,
        "",
        "src.redshift.phot;stat.probability",
        "quantiles of the predicted redshift; their levels are in the field's metadata",
    ),
    (
        "z_spec",
        "",
        "src.redshift",
        "spectroscopic redshift that came with the row",
    ),
    (
        REFERENCE_MAG,
        "mag",
        "phot.mag",
        "magnitude, AB, extinction-corrected",
    ),
    (
        "z_flags",
        "",
        "meta.code",
        "bits, named in the file's metadata",
    ),
    (
        "model_id",
        "",
        "meta.id;meta.modelled",
        "first digits of the model's SHA-256",
    ),
    (
        "drop",
        "",
        "meta.id;meta.dataset",
        "the delivery the row came with",
    ),
];

/// A column of `photoz/`.
pub(super) struct PhotozColumn {
    /// The name of the column in pieces.
    pub in_pieces: &'static str,
    /// The name of the column in the file.
    pub name: String,
    pub unit: &'static str,
    pub ucd: &'static str,
    pub description: String,
}

impl PhotozColumn {
    /// The values of the column in these rows, and its field with unit, UCD and description.
    pub fn of(self, rows: &RecordBatch) -> Result<(FieldRef, Source), ArrowError> {
        let values = column(rows, self.in_pieces);
        let field = rows.schema_ref().field_with_name(self.in_pieces)?;
        Ok((Arc::new(self.describe(field)), Source::Own(values)))
    }

    /// Adds name, unit, UCD and description to `field`, the field of the column in pieces.
    pub fn describe(self, field: &Field) -> Field {
        let facts = [
            ("unit", self.unit),
            ("ucd", self.ucd),
            ("description", self.description.as_str()),
        ];
        let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
        let mut metadata: Metadata = field.metadata().clone();
        metadata.extend(facts);
        let field = field.clone().with_name(self.name);
        field.with_metadata(metadata)
    }
}

/// The columns of a file, in their order. There is a magnitude only if there is a reference band.
pub(super) fn columns(reference_band: Option<&str>) -> Vec<PhotozColumn> {
    let column = |&(in_pieces, unit, ucd, description): &(_, _, _, &str)| {
        let plain = PhotozColumn {
            in_pieces,
            name: in_pieces.to_owned(),
            unit,
            ucd,
            description: description.to_owned(),
        };
        match reference_band {
            _ if in_pieces != REFERENCE_MAG => Some(plain),
            band => band.map(|band| mag(in_pieces, band)),
        }
    };
    PHOTOZ.iter().filter_map(column).collect()
}

/// The column of the magnitude in a band.
pub(super) fn mag(in_pieces: &'static str, band: &str) -> PhotozColumn {
    PhotozColumn {
        in_pieces,
        name: mag_column(band),
        unit: "mag",
        ucd: ucd_of_mag(band),
        description: format!("{band} magnitude, AB, extinction-corrected"),
    }
}

/// The names in pieces of the columns that hold one value a row.
pub(super) fn in_pieces() -> impl Iterator<Item = &'static str> {
    let names = PHOTOZ.iter().map(|(name, ..)| *name);
    names.filter(|name| *name != Z_QUANTILES)
}

/// The UCD of the magnitude in a band. Unified Content Descriptors name parts of the spectrum. The names of other bands do
/// not tell where in the spectrum the bands lie.
fn ucd_of_mag(band: &str) -> &'static str {
    match band {
        "u" => "phot.mag;em.opt.U",
        "g" => "phot.mag;em.opt.B",
        "r" => "phot.mag;em.opt.R",
        "i" | "z" | "y" => "phot.mag;em.opt.I",
        _ => "phot.mag",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::galaxy::check_kept;

    #[test]
    fn a_kept_column_cannot_have_the_name_of_a_column_of_the_output() {
        for column in columns(Some("r")) {
            let name = column.name;
            let refused = check_kept(std::slice::from_ref(&name), Some("r"));
            let refused = refused.expect_err(&name).to_string();
            let says = format!("--keep {name}: the output has a column of that name already");
            assert!(refused.starts_with(&says), "{refused}");
        }
    }
}
