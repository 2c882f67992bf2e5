//! HEALPix cells of positions on the sky (nested scheme, Górski et al. 2005), in degrees.

/// The order of the `_healpix_29` column: cells of 0.4 milliarcseconds.
pub const ORDER_POSITION: u8 = 29;

/// The nested HEALPix cell of a position at order 29.
///
/// `ra_deg` must be in [0, 360] and `dec_deg` in [-90, 90], which validation checks.
///
/// ```
/// // The first base cell on the equator, 4, is centred where ra and dec are zero.
/// assert_eq!(hubbleflow_connectors::sky::healpix_29(0.0, 0.0) >> 58, 4);
/// ```
pub fn healpix_29(ra_deg: f64, dec_deg: f64) -> i64 {
    // A cell fits into an i64, because 12 * 4^29 < 2^63.
    cdshealpix::nested::hash(ORDER_POSITION, ra_deg.to_radians(), dec_deg.to_radians()) as i64
}

/// The order of tiles: cells of 3.4 square degrees.
pub const ORDER_TILE: u8 = 5;

/// The corners of a tile in order, as `(ra, dec)` in degrees.
/// ```
/// let corners = hubbleflow_connectors::sky::tile_corners(0);
/// assert!(corners.iter().all(|&(ra, dec)| (43.0..47.0).contains(&ra) && (-1.0..5.0).contains(&dec)));
/// ```
pub fn tile_corners(tile: u64) -> Vec<(f64, f64)> {
    let corners = cdshealpix::nested::vertices(ORDER_TILE, tile);
    let degrees = |(ra, dec): (f64, f64)| (ra.to_degrees(), dec.to_degrees());
    corners.map(degrees).into()
}

/// Whether these coordinates are a position on the sky.
pub fn on_sky(ra_deg: f64, dec_deg: f64) -> bool {
    (0.0..=360.0).contains(&ra_deg) && (-90.0..=90.0).contains(&dec_deg)
}
