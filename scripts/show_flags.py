#!/usr/bin/env python3
"""Shows which flags a model sets: on a catalog as it is, and on the same rows spoilt in one way at a time.

Usage: scripts/show_flags.py HUBBLEFLOW MODEL CATALOG [GALAXIES]

CATALOG has cutouts in u, g, r, i, z, in nanomaggies at 0.396 arcsec a pixel, as `hubbleflow sample` writes them. Rows
beyond r = R_MAX are left out. The table has a row for each way: the part of the predicted rows with each flag, with any
of the four, and sigma_nmad where rows have a z_spec. Needs numpy and pyarrow.
"""
import glob
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scores import relative, sigma_nmad
from sdss import EXTINCTION, FWHM_ARCSEC, NMGY_PER_DN, SCALE_ARCSEC, SEEING_SCATTER

R_MAX = 17.85
FLAGS = {"BLANK_BAND": 4, "OUTSIDE_TRAINING": 8, "FLUX_MISMATCH": 16, "BELOW_ZERO": 32}
# The rms of the SDSS's sky in ugriz, in nanomaggies a pixel.
SKY = np.array([0.048, 0.018, 0.029, 0.046, 0.173])
# A point source: its width, and the share and the width of its wings.
FWHM_PX, WINGS, WINGS_WIDTH = FWHM_ARCSEC / SCALE_ARCSEC, 0.35, 2.1
# An r of 14 saturates about here.
FULL_WELL = 150.0

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def as_it_is(rng, mags, cutouts, ebv) -> Rows:
    return mags, cutouts, ebv


def shuffled(rng, mags, cutouts, ebv) -> Rows:
    """Each row with the cutout of another, and its dust."""
    order = rng.permutation(len(mags))
    return mags, cutouts[order], ebv[order]


def blank_sky(rng, mags, cutouts, ebv) -> Rows:
    return mags, noise(rng, cutouts.shape), ebv


def one_band_blank(rng, mags, cutouts, ebv) -> Rows:
    spoilt = cutouts.copy()
    spoilt[:, 0] = 0
    return mags, spoilt, ebv


def counts(rng, mags, cutouts, ebv) -> Rows:
    """In counts of the camera instead of nanomaggies."""
    return mags, cutouts / NMGY_PER_DN[:, None, None], ebv


def bands_reversed(rng, mags, cutouts, ebv) -> Rows:
    return mags, cutouts[:, ::-1], ebv


def at_r_19(rng, mags, cutouts, ebv) -> Rows:
    """The same galaxies, further dimmed to r = 19."""
    dimmer = 19 - mags[:, 2]
    factor = 10 ** (-0.4 * dimmer)[:, None, None, None]
    return mags + dimmer[:, None], cutouts * factor + noise(rng, cutouts.shape) * np.sqrt(1 - factor**2), ebv


def stars(rng, mags, cutouts, ebv) -> Rows:
    """Stars of the rows' r: g - r by Juric et al. 2008, equation 4; straight lines for u - g and i - z."""
    r_i = rng.uniform(0.05, 1.2, len(mags))
    g_r = 1.39 * (1 - np.exp(-4.9 * r_i**3 - 2.45 * r_i**2 - 1.68 * r_i - 0.05))
    r = mags[:, 2]
    star = np.stack([r + g_r + 0.45 + 1.6 * g_r, r + g_r, r, r - r_i, r - 1.55 * r_i], 1)
    return star, points(star, cutouts, ebv) + noise(rng, cutouts.shape), ebv


def stars_in_any_seeing(rng, mags, cutouts, ebv) -> Rows:
    """The stars, up to half a pixel off the centre, in seeing that varies as that of the sample survey does."""
    star, _, _ = stars(rng, mags, cutouts, ebv)
    common, of_band = SEEING_SCATTER
    seeing = np.exp(common * rng.standard_normal((len(mags), 1)) + of_band * rng.standard_normal((len(mags), 5)))
    off_px = rng.uniform(-0.5, 0.5, (len(mags), 2))
    return star, points(star, cutouts, ebv, seeing, off_px) + noise(rng, cutouts.shape), ebv


def saturated_stars(rng, mags, cutouts, ebv) -> Rows:
    """Stars of r from 10 to 13, cut at full wells, with the magnitudes that are left."""
    bright, _, _ = stars(rng, mags, cutouts, ebv)
    bright += (rng.uniform(10, 13, len(mags)) - bright[:, 2])[:, None]
    pixels = np.minimum(points(bright, cutouts, ebv), FULL_WELL)
    left = 22.5 - 2.5 * np.log10(pixels.sum((2, 3))) - ebv[:, None] * EXTINCTION
    return left, pixels + noise(rng, cutouts.shape), ebv


WAYS = [as_it_is, shuffled, blank_sky, one_band_blank, counts, bands_reversed, at_r_19, stars, stars_in_any_seeing, saturated_stars]


def noise(rng, shape):
    return rng.standard_normal(shape, dtype="f4") * SKY[:, None, None].astype("f4")


def points(mags, cutouts, ebv, seeing=np.ones((1, 5)), off_px=np.zeros((1, 2))):
    """Point sources of these magnitudes near the centres of cutouts, dimmed by dust, in seeing relative to the usual."""
    places = np.arange(cutouts.shape[-1]) - (cutouts.shape[-1] - 1) / 2
    x, y = ((places - off) ** 2 for off in off_px.T[..., None])
    distance = (y[:, :, None] + x[:, None, :])[:, None]
    profile = 0
    for share, width in [(1 - WINGS, 1), (WINGS, WINGS_WIDTH)]:
        variance = (FWHM_PX * seeing / 2.355 * width)[:, :, None, None] ** 2
        profile = profile + share * np.exp(-distance / (2 * variance)) / (2 * np.pi * variance)
    flux = 10 ** (-0.4 * (mags + ebv[:, None] * EXTINCTION - 22.5))
    return flux[:, :, None, None] * profile


def read(catalog, galaxies):
    """Rows of one size of cutout, by the columns that are needed. The first file says the size."""
    columns, tables = ["object_id", "ra", "dec", *[f"mag_{band}" for band in "ugriz"], "ebv", "z_spec", "cutout"], []
    for path in sorted(glob.glob(f"{catalog}/**/*.parquet", recursive=True)):
        table = pq.read_table(path, columns=columns).filter(pa.compute.field("mag_r") < R_MAX)
        if table.num_rows and (not tables or table["cutout"].type == tables[0]["cutout"].type):
            tables.append(table)
    return pa.concat_tables(tables).slice(0, galaxies)


def spoil(table, way):
    """The table with its magnitudes, cutouts and dust spoilt."""
    cutout = table["cutout"].combine_chunks()
    side = round((cutout.type.list_size / 5) ** 0.5)
    cutouts = cutout.flatten().to_numpy().reshape(-1, 5, side, side)
    mags = np.stack([table[f"mag_{band}"].to_numpy() for band in "ugriz"], 1)
    mags, cutouts, ebv = way(np.random.default_rng(1), mags, cutouts, table["ebv"].to_numpy())
    pixels = pa.array(np.ascontiguousarray(cutouts, "f4").ravel())
    new = {f"mag_{band}": mags[:, number].astype("f4") for number, band in enumerate("ugriz")}
    new |= {"ebv": ebv, "cutout": pa.FixedSizeListArray.from_arrays(pixels, cutout.type.list_size)}
    return pa.table({name: new.get(name, table[name]) for name in table.column_names})


def predict(hubbleflow, model, table, work):
    """The predictions of a table."""
    (work / "catalog/drop").mkdir(parents=True)
    pq.write_table(table, work / "catalog/drop/rows.parquet", row_group_size=500)
    run = [hubbleflow, "run", work / "catalog", "--out", work / "out", "--model", model]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    files = glob.glob(f"{work}/out/photoz/**/*.parquet", recursive=True)
    return pa.concat_tables([pq.ParquetFile(file).read(["z_phot", "z_spec", "z_flags"]) for file in files])


def spread(rows):
    rows = rows.filter(pa.compute.is_finite(rows["z_spec"]))
    if rows.num_rows < 50:
        return ""
    return f"{sigma_nmad(relative(rows['z_phot'].to_numpy(), rows['z_spec'].to_numpy())):.4f}"


def main(hubbleflow, model, catalog, galaxies="5000"):
    table = read(catalog, int(galaxies))
    print(f"{table.num_rows} galaxies\n\n| | rows | {' | '.join(FLAGS)} | any | sigma_nmad |\n|---|---|{'---|' * (len(FLAGS) + 2)}")
    for way in WAYS:
        with tempfile.TemporaryDirectory() as work:
            rows = predict(hubbleflow, model, spoil(table, way), pathlib.Path(work))
        flags = rows["z_flags"].to_numpy()
        parts = [np.mean(flags & bit != 0) for bit in [*FLAGS.values(), sum(FLAGS.values())]]
        cells = [way.__name__.replace("_", " "), f"{len(flags):,}", *[f"{100 * part:.1f}%" for part in parts], spread(rows)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
