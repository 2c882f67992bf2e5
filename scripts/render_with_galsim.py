"""Renders a sample survey's cutouts once more, with GalSim: `python render_with_galsim.py CATALOG OUT [ROWS]`.

`CATALOG` is a folder that `hubbleflow sample --mag-noise 0` made. Of its rows the true magnitudes, redshifts, places and
`ebv` are taken; shapes, neighbours, seeing, noise and the errors of the magnitudes are drawn anew from the same
distributions, and the images are another program's (Rowe et al. 2015, arXiv:1407.7676): true Sersic profiles, its own
Fourier transforms, its own correlated noise and knots of single points in the disks, where the sample survey sums Gaussians.
A model that leans on accidents of our renderer scores worse on these. Needs `pip install galsim pyarrow numpy`.
"""

import glob
import os
import sys

import galsim
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sdss import EXTINCTION, FWHM_ARCSEC, NMGY_PER_DN, SCALE_ARCSEC, SEEING_SCATTER

SIDE_PX = 32
# FWHM of the core of the PSF, of which the wings have a third of the light, in units of the whole's.
CORE = 2.3548 / 2.4969
GAIN = np.array([1.6, 3.8, 4.7, 5.2, 4.7])
DARK_VARIANCE = np.array([10.0, 4.0, 2.0, 6.0, 2.0])
SKY_MAG_ARCSEC2 = np.array([22.15, 21.85, 20.85, 20.2, 19.05])
BULGE_MINUS_DISK_MAG = np.array([-0.55, -0.20, 0.0, 0.08, 0.14])
NEIGHBOURS = 6.0 * (SIDE_PX / 64) ** 2
COMPANIONS = 0.15
ARMS, ARMS_BLUER, KNOTS = 0.38, np.array([1.7, 1.25, 1.0, 0.9, 0.85]), 30
# log10 of the error of a magnitude: a parabola about a magnitude, and its scatter (engine/sample/src/mag_noise.rs).
ERROR_PIVOT_MAG = np.array([19.0, 17.5, 17.0, 16.5, 16.0])
ERROR_LOG = np.array([[-1.3457, -2.1796, -2.2404, -2.2563, -1.9391], [0.2441, 0.1938, 0.1885, 0.1942, 0.2457], [0.0098, 0.0131, 0.0148, 0.0178, 0.0217]])
ERROR_SCATTER = np.array([0.103, 0.061, 0.055, 0.061, 0.103])


def nmgy(mag):
    return 10 ** (-0.4 * (np.asarray(mag) - 22.5))


def profiles(mags, z, rng):
    """Bulge and disk, each with its flux in every band."""
    u, g, r, _, _ = mags
    lean = -0.667 + 0.605 * (u - r - 2.2) + 1.723 * (g - r - 0.8) - 0.256 * (np.log10(z) + 1) - 0.219 * (r - 17)
    q = np.clip(1 / (1 + np.exp(-lean)), 0.02, 0.98)
    elliptical = rng.beta(2 * q, 2 * (1 - q))
    log_radius = 0.250 - 0.164 * (r - 17) - 0.056 * (np.log10(z) + 1) - 0.059 * (g - r - 0.8)
    radius = 10 ** (log_radius - 0.494 * (elliptical - 0.5) + rng.normal(0, 0.15))
    radius_bulge = radius * 10 ** rng.normal(0.252, 0.10)
    shape = (2.4, 1.9) if elliptical < 0.3 else (4.1, 1.9) if elliptical <= 0.7 else (7.3, 2.2)
    axis_ratio = max(rng.beta(*shape), 0.12)
    bulge_share = rng.beta(0.6 + 5 * elliptical, 0.6 + 5 * (1 - elliptical))
    bulge_share = 0.0 if bulge_share < 0.04 else min(bulge_share, 0.999)
    angle = rng.uniform(0, np.pi) * galsim.radians
    disk = galsim.Exponential(half_light_radius=radius * (1 + 0.25 * bulge_share))
    bulge = galsim.DeVaucouleurs(half_light_radius=radius_bulge * (0.25 + 0.75 * bulge_share), trunc=0)
    redder = BULGE_MINUS_DISK_MAG * rng.normal(1, 0.25)
    share = bulge_share / (1 - bulge_share) * 10 ** (0.4 * redder)
    share = share / (1 + share)
    flux = nmgy(mags)
    in_arms = np.minimum(ARMS * (1 - elliptical) * rng.uniform(0.5, 1.5) * ARMS_BLUER, 0.8)
    points = galsim.RandomKnots(KNOTS, profile=disk, rng=galsim.BaseDeviate(int(rng.integers(1, 2**31))))
    yield disk.shear(q=axis_ratio, beta=angle), flux * (1 - share) * (1 - in_arms)
    yield points.shear(q=axis_ratio, beta=angle), flux * (1 - share) * in_arms
    if bulge_share > 0:
        yield bulge.shear(q=0.35 + 0.65 * axis_ratio, beta=angle), flux * share


def galaxy_of(r, table, rng):
    """A galaxy of magnitude r with the colours of one of the table: profile, fluxes."""
    mags = table[rng.integers(len(table))]
    disk = galsim.Exponential(half_light_radius=10 ** (0.25 - 0.13 * (r - 17) + rng.normal(0, 0.2)))
    return disk.shear(q=rng.uniform(0.3, 1), beta=rng.uniform(0, np.pi) * galsim.radians), nmgy(mags - mags[2] + r)


def neighbours(mag_r, table, rng):
    """Stars and galaxies: profile (none for a star), fluxes, place in px."""
    half = SIDE_PX / 2
    if rng.uniform() < COMPANIONS:
        distance, towards = rng.uniform(2.5, 6), rng.uniform(0, 2 * np.pi)
        place = distance * np.array([np.cos(towards), np.sin(towards)])
        yield *galaxy_of(mag_r + rng.uniform(1.2, 4.5), table, rng), place
    for _ in range(rng.poisson(NEIGHBOURS)):
        slope = 0.36 * np.log(10)
        r = np.log(rng.uniform(np.exp(slope * 15), np.exp(slope * 23))) / slope
        profile, flux = galaxy_of(r, table, rng)
        place = rng.uniform(-half, half, 2)
        dim = 0.1 if np.hypot(*place) < 6 else 1.0
        yield None if rng.uniform() < 0.35 else profile, dim * flux, place


def noise(variance, resampled, rng):
    """Noise of this variance by pixel, as of a frame that was resampled, or white."""
    white = rng.normal(0, 1, [side + 16 for side in variance.shape])
    if resampled:
        shift = rng.uniform(0.12, 0.88, 2) * SCALE_ARCSEC
        frame = galsim.InterpolatedImage(galsim.ImageD(white, scale=SCALE_ARCSEC), x_interpolant="lanczos3", normalization="sb")
        image = galsim.ImageD(white.shape[1], white.shape[0], scale=SCALE_ARCSEC)
        white = frame.shift(*shift).drawImage(image, method="sb").array
    return white[8:-8, 8:-8] * np.sqrt(variance)


def cutout(mags, z, ebv, table, rng):
    dust = 10 ** (-0.4 * EXTINCTION * ebv)
    seeing = np.exp(rng.normal(0, SEEING_SCATTER[0]) + rng.normal(0, SEEING_SCATTER[1], 5))
    resampled = rng.uniform() < 0.5
    at = rng.normal(0, 0.35, 2)
    parts = [(profile, flux, at) for profile, flux in profiles(mags, z, rng)] + list(neighbours(mags[2], table, rng))
    bands = np.zeros((5, SIDE_PX, SIDE_PX), np.float32)
    for band in range(5):
        fwhm = CORE * FWHM_ARCSEC[band] * np.clip(seeing[band], 0.5, 2)
        psf = galsim.Gaussian(fwhm=fwhm, flux=0.65) + galsim.Gaussian(fwhm=2.1 * fwhm, flux=0.35)
        displaced = rng.normal(0, 0.07, 2)
        image = galsim.ImageD(SIDE_PX, SIDE_PX, scale=SCALE_ARCSEC)
        for profile, flux, place in parts:
            seen = psf if profile is None else galsim.Convolve(profile, psf)
            seen = seen.withFlux(flux[band]).shift(*((place + displaced) * SCALE_ARCSEC))
            seen.drawImage(image, add_to_image=True)
        sky = nmgy(SKY_MAG_ARCSEC2[band]) * SCALE_ARCSEC**2
        light = image.array * dust[band]
        variance = np.maximum(light + sky, 0) / NMGY_PER_DN[band] / GAIN[band] + DARK_VARIANCE[band]
        variance *= NMGY_PER_DN[band] ** 2
        left = np.sqrt(sky * NMGY_PER_DN[band] / GAIN[band] + DARK_VARIANCE[band] * NMGY_PER_DN[band] ** 2) * rng.normal(0.03, 0.05)
        bands[band] = light + noise(variance, resampled, rng) + left
    return bands.ravel()


def measured(mags, rng):
    """Magnitudes `[row, band]` with errors as large as the SDSS's."""
    far = np.clip(mags - ERROR_PIVOT_MAG, -4, 4)
    harder = rng.normal(0, 1, (len(mags), 1))
    errors = 10 ** (ERROR_LOG[0] + (ERROR_LOG[1] + ERROR_LOG[2] * far) * far + ERROR_SCATTER * harder)
    return mags + errors * rng.normal(0, 1, mags.shape)


def main(catalog, out, rows=4000):
    columns = ["object_id", "ra", "dec", "mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "ebv", "z_spec"]
    files = sorted(glob.glob(f"{catalog}/**/*.parquet", recursive=True))
    table = pa.concat_tables([pq.read_table(file, columns=columns) for file in files])
    keep = np.all([np.isfinite(table[name].to_numpy(zero_copy_only=False)) for name in columns[1:]], axis=0)
    mags = np.stack([table[f"mag_{band}"].to_numpy(zero_copy_only=False) for band in "ugriz"], axis=1)
    keep &= np.all((mags > 0) & (mags < 40), axis=1)
    table, mags = table.filter(pa.array(keep)), mags[keep].astype(np.float64)
    table, rng = table.slice(0, int(rows)), np.random.default_rng(1)
    z, ebv = table["z_spec"].to_numpy(), table["ebv"].to_numpy()
    cutouts = [cutout(mags[row], z[row], ebv[row], mags, rng) for row in range(len(table))]
    with_errors = measured(mags[: len(table)], rng).astype(np.float32)
    for band, name in enumerate(["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"]):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(with_errors[:, band]))
    cutouts = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(cutouts)), 5 * SIDE_PX**2)
    os.makedirs(f"{out}/galsim")
    pq.write_table(table.append_column("cutout", cutouts), f"{out}/galsim/part-0000.parquet", row_group_size=1000)
    print(f"{len(table)} galaxies")


main(*sys.argv[1:])
