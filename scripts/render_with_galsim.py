"""Renders a sample survey's cutouts once more, with GalSim: `python render_with_galsim.py CATALOG OUT [ROWS]`.

`CATALOG` is a folder that `hubbleflow sample` made. Of its rows the magnitudes, redshifts and places are taken; shapes,
neighbours, seeing and noise are drawn anew from the same distributions, and the images are another program's (Rowe et al.
2015, arXiv:1407.7676): true Sersic profiles and its own Fourier transforms, where the sample survey sums Gaussians. A model
that leans on accidents of our renderer scores worse on these. Needs `pip install galsim pyarrow numpy`.
"""

import glob
import os
import sys

import galsim
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIDE_PX, SCALE_ARCSEC = 32, 0.396
FWHM_ARCSEC = np.array([1.53, 1.44, 1.32, 1.26, 1.29])
EXTINCTION = np.array([4.239, 3.303, 2.285, 1.698, 1.263])
GAIN = np.array([1.6, 3.8, 4.7, 5.2, 4.7])
DARK_VARIANCE = np.array([10.0, 4.0, 2.0, 6.0, 2.0])
NMGY_PER_DN = np.array([0.0101, 0.0038, 0.0050, 0.0068, 0.0330])
SKY_MAG_ARCSEC2 = np.array([22.15, 21.85, 20.85, 20.2, 19.05])
BULGE_MINUS_DISK_MAG = np.array([-0.55, -0.20, 0.0, 0.08, 0.14])
NEIGHBOURS = 1.2 * (SIDE_PX / 64) ** 2


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
    yield disk.shear(q=axis_ratio, beta=angle), flux * (1 - share)
    if bulge_share > 0:
        yield bulge.shear(q=0.35 + 0.65 * axis_ratio, beta=angle), flux * share


def neighbours(table, rng):
    """Stars and small galaxies: profile (none for a star), fluxes, place in px."""
    half = SIDE_PX / 2
    for _ in range(rng.poisson(NEIGHBOURS)):
        slope = 0.33 * np.log(10)
        r = np.log(rng.uniform(np.exp(slope * 16.5), np.exp(slope * 23))) / slope
        mags = table[rng.integers(len(table))]
        place = rng.uniform(-half, half, 2)
        dim = 0.1 if np.hypot(*place) < 6 else 1.0
        size = None if rng.uniform() < 0.35 else rng.uniform(0.4, 1.2)
        profile = size and galsim.Gaussian(half_light_radius=size)
        yield profile, dim * nmgy(mags - mags[2] + r), place


def cutout(mags, z, table, rng):
    dust = 10 ** (-0.4 * EXTINCTION * min(rng.gamma(1.6, 0.021), 0.25))
    fwhm = FWHM_ARCSEC * rng.normal(1, 0.09)
    parts = [(profile, flux, rng_place) for rng_place in [rng.normal(0, 0.35, 2)] for profile, flux in profiles(mags, z, rng)]
    parts += list(neighbours(table, rng))
    bands = np.zeros((5, SIDE_PX, SIDE_PX), np.float32)
    for band in range(5):
        core = galsim.Gaussian(fwhm=fwhm[band], flux=0.9)
        psf = core + galsim.Gaussian(fwhm=3 * fwhm[band], flux=0.1)
        image = galsim.ImageD(SIDE_PX, SIDE_PX, scale=SCALE_ARCSEC)
        for profile, flux, place in parts:
            seen = psf if profile is None else galsim.Convolve(profile, psf)
            seen = seen.withFlux(flux[band]).shift(*(place * SCALE_ARCSEC))
            seen.drawImage(image, add_to_image=True)
        sky = nmgy(SKY_MAG_ARCSEC2[band]) * SCALE_ARCSEC**2
        light = image.array * dust[band]
        variance = np.maximum(light + sky, 0) / NMGY_PER_DN[band] / GAIN[band] + DARK_VARIANCE[band]
        bands[band] = light + rng.normal(0, 1, light.shape) * np.sqrt(variance) * NMGY_PER_DN[band]
    return bands.ravel()


def main(catalog, out, rows=4000):
    columns = ["object_id", "ra", "dec", "mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "z_spec"]
    files = sorted(glob.glob(f"{catalog}/**/*.parquet", recursive=True))
    table = pa.concat_tables([pq.read_table(file, columns=columns) for file in files])
    keep = np.all([np.isfinite(table[name].to_numpy(zero_copy_only=False)) for name in columns[1:]], axis=0)
    mags = np.stack([table[f"mag_{band}"].to_numpy(zero_copy_only=False) for band in "ugriz"], axis=1)
    keep &= np.all((mags > 0) & (mags < 40), axis=1)
    table, mags = table.filter(pa.array(keep)), mags[keep].astype(np.float64)
    table, rng = table.slice(0, int(rows)), np.random.default_rng(1)
    z = table["z_spec"].to_numpy()
    cutouts = [cutout(mags[row], z[row], mags, rng) for row in range(len(table))]
    cutouts = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(cutouts)), 5 * SIDE_PX**2)
    os.makedirs(f"{out}/galsim")
    pq.write_table(table.append_column("cutout", cutouts), f"{out}/galsim/part-0000.parquet", row_group_size=1000)
    print(f"{len(table)} galaxies")


main(*sys.argv[1:])
