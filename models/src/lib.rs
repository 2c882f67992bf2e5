//! The networks: cutouts and magnitudes in, photometric redshifts out.
