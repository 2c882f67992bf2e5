//! The columns of `photoz/`.

use super::columns::REFERENCE_MAG;
use crate::galaxy::mag_column;

/// The columns of `photoz/` in their order: name in pieces, unit, UCD and description.
const PHOTOZ: [(&str, &str, &str, &str); 10] = [
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
            None => None,
            Some(band) => Some(PhotozColumn {
                name: mag_column(band),
                ucd: ucd_of_mag(band),
                description: format!("{band} {description}"),
                ..plain
            }),
        }
    };
    PHOTOZ.iter().filter_map(column).collect()
}

/// The names of the columns in pieces.
pub(super) fn in_pieces() -> impl Iterator<Item = &'static str> {
    PHOTOZ.iter().map(|(name, ..)| *name)
}

/// The UCD of the magnitude in a band. The Unified Content Descriptors have a word for a part of the spectrum, and bands of
/// other surveys than those known here say nothing of where in the spectrum they lie.
fn ucd_of_mag(band: &str) -> &'static str {
    match band {
        "u" => "phot.mag;em.opt.U",
        "g" => "phot.mag;em.opt.B",
        "r" => "phot.mag;em.opt.R",
        "i" | "z" | "y" => "phot.mag;em.opt.I",
        _ => "phot.mag",
    }
}
