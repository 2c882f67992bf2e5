//! The columns of `photoz/`.

/// The columns of `photoz/` in their order: name, unit, UCD and description.
pub(super) const PHOTOZ: [(&str, &str, &str, &str); 10] = [
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
        "mag_r",
        "mag",
        "phot.mag;em.opt.R",
        "r magnitude, AB, extinction-corrected",
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
