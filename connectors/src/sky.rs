//! HEALPix cells of positions on the sky (nested scheme, Górski et al. 2005), in degrees.

/// The order of the `_healpix_29` column: cells of 0.4 milliarcseconds.
pub const ORDER_POSITION: u8 = 29;

/// The nested HEALPix cell of a position at order 29.
///
/// `ra_deg` is in [0, 360], `dec_deg` in [-90, 90]; validation has seen to it.
///
/// ```
/// // The first base cell on the equator, 4, is centred where ra and dec are zero.
/// assert_eq!(connectors::sky::healpix_29(0.0, 0.0) >> 58, 4);
/// ```
pub fn healpix_29(ra_deg: f64, dec_deg: f64) -> i64 {
    // 12 * 4^29 < 2^63: the cell fits an i64.
    cdshealpix::nested::hash(ORDER_POSITION, ra_deg.to_radians(), dec_deg.to_radians()) as i64
}

/// Whether a position lies on the sky at all.
pub fn on_sky(ra_deg: f64, dec_deg: f64) -> bool {
    (0.0..=360.0).contains(&ra_deg) && (-90.0..=90.0).contains(&dec_deg)
}
