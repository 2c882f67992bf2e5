"""Constants of the SDSS's images, in ugriz, for the scripts that render."""

import numpy as np

SCALE_ARCSEC = 0.396
# Medians of the full width at half maximum of the PSF, of which the wings have a third of the light.
FWHM_ARCSEC = np.array([1.39, 1.23, 1.20, 1.13, 1.08])
# Scatter of the logarithm of the seeing from one observation to the next: the same in all bands, and of each band.
SEEING_SCATTER = (0.16, 0.12)
# Magnitudes for an E(B-V) of 1 (Schlafly & Finkbeiner 2011).
EXTINCTION = np.array([4.239, 3.303, 2.285, 1.698, 1.263])
NMGY_PER_DN = np.array([0.0101, 0.0038, 0.0050, 0.0068, 0.0330])
