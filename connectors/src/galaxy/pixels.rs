//! The pixels of one cutout.

/// One galaxy's image: the model's bands of `side_px` by `side_px` pixels, in nanomaggies.
#[derive(Clone, Debug)]
pub struct Cutout<'a> {
    /// The bands in the model's order; each `[y, x]`, little-endian float32.
    pub(super) planes: Vec<&'a [u8]>,
    pub(super) side_px: usize,
}

impl Cutout<'_> {
    /// The side of the image in pixels.
    pub fn side_px(&self) -> usize {
        self.side_px
    }

    /// The number of bands.
    pub fn bands(&self) -> usize {
        self.planes.len()
    }

    /// The largest absolute value of all pixels, in nanomaggies. NaN or infinite if a pixel is.
    pub fn flux_abs_max(&self) -> f32 {
        // Without signs, floats have the order of their bits, and NaN comes last. There is no early exit, because a loop
        // without branches is compiled to vector instructions.
        const WITHOUT_SIGN: u32 = 0x7fff_ffff;
        let largest = |plane: &[u8]| {
            let (pixels, _) = plane.as_chunks::<4>();
            let bits = pixels.iter().map(|pixel| u32::from_le_bytes(*pixel));
            bits.fold(0, |largest, bits| largest.max(bits & WITHOUT_SIGN))
        };
        let planes = self.planes.iter();
        f32::from_bits(planes.fold(0, |largest_so_far, plane| {
            largest_so_far.max(largest(plane))
        }))
    }

    /// Whether all pixels are finite.
    pub fn is_finite(&self) -> bool {
        self.flux_abs_max().is_finite()
    }

    /// The number of bands that have the same value in all of the central `side_px` by `side_px` pixels.
    ///
    /// A single pixel is never blank.
    pub fn blank_bands(&self, side_px: usize) -> usize {
        let is_blank = |plane: &&&[u8]| {
            let mut lines = centre(plane, self.side_px, side_px);
            let first = lines.next().and_then(<[_]>::first).copied();
            let Some(first) = first.map(f32::from_le_bytes) else {
                return false;
            };
            // For nearly all bands the search ends in the first line.
            let of_first = |pixel: &[u8; 4]| f32::from_le_bytes(*pixel) == first;
            centre(plane, self.side_px, side_px).all(|line| line.iter().all(of_first))
        };
        match side_px {
            0 | 1 => 0,
            _ => self.planes.iter().filter(is_blank).count(),
        }
    }

    /// The flux in the aperture of a band: the sum of the central `aperture_px` by `aperture_px` pixels of the central `side_px`
    /// by `side_px`, each times `factor`, line by line.
    ///
    /// # Panics
    /// If the cutout has fewer pixels or bands.
    pub fn flux_nmgy(&self, band: usize, side_px: usize, aperture_px: usize, factor: f32) -> f64 {
        assert!(
            aperture_px <= side_px && side_px <= self.side_px,
            "{aperture_px} pixels of {side_px} of {}",
            self.side_px
        );
        if aperture_px == 0 {
            return 0.0;
        }
        let margin_px = (side_px - aperture_px) / 2;
        let lines = centre(self.planes[band], self.side_px, side_px).skip(margin_px);
        let pixels = lines
            .take(aperture_px)
            .flat_map(|line| &line[margin_px..margin_px + aperture_px]);
        let fluxes = pixels.map(|pixel| f64::from(f32::from_le_bytes(*pixel) * factor));
        fluxes.sum()
    }

    /// Copies the central `side_px` by `side_px` pixels to `out`, as `[band, y, x]`.
    ///
    /// All four sides lose the same number of pixels, or the top and the left lose one pixel less.
    ///
    /// # Panics
    /// If the cutout is smaller, or if the length of `out` is not `bands * side_px * side_px`.
    pub fn crop_into(&self, side_px: usize, out: &mut [f32]) {
        assert!(
            side_px <= self.side_px,
            "{side_px} pixels of {}",
            self.side_px
        );
        assert_eq!(
            out.len(),
            self.planes.len() * side_px * side_px,
            "{} bands of {side_px} pixels",
            self.planes.len()
        );
        if side_px == 0 {
            return;
        }
        for (plane, band) in self
            .planes
            .iter()
            .zip(out.chunks_exact_mut(side_px * side_px))
        {
            let lines = centre(plane, self.side_px, side_px);
            for (line, out) in lines.zip(band.chunks_exact_mut(side_px)) {
                for (pixel, out) in line.iter().zip(out) {
                    *out = f32::from_le_bytes(*pixel);
                }
            }
        }
    }
}

/// The lines of the central `px` by `px` pixels of a plane whose side is `side_px`.
fn centre(plane: &[u8], side_px: usize, px: usize) -> impl Iterator<Item = &[[u8; 4]]> {
    let (pixels, _) = plane.as_chunks::<4>();
    let margin_px = (side_px - px) / 2;
    let lines = pixels.chunks_exact(side_px).skip(margin_px).take(px);
    lines.map(move |line| &line[margin_px..margin_px + px])
}
