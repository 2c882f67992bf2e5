"""Compares cutouts of catalogs: `python compare_cutouts.py CATALOG [CATALOG …] [--rows N] [--column NAME=NAME …]`.

Shows whether a survey looks like another one, say a survey of yours like the sample survey that the bundled model was
trained on (`hubbleflow sample train --parents train`). A catalog is a folder of Parquet files, or one file, with the columns
`cutout` (`[band, y, x]`, nanomaggies per pixel) and `mag_<band>`, as docs/catalog.md says. Rows that have no cutout or a
pixel that is not finite are left out. Bands are those that all catalogs have. Needs `pip install numpy pyarrow`.

Each line is a median over galaxies, and in brackets the quartiles:
  rms          the noise of a pixel in nanomaggies, from differences of pixels in the outer quarter that are 3 px apart
  correlation  of the noise of neighbouring pixels
  border       mean of the outer 2 px, in rms: neighbours, the galaxy's wings, sky that was left
  sky          mode of the outer quarter, in rms: sky that was left
  asymmetry    sum of |image - image after half a turn| over the sum of |image|, within 8 px of the centre of light
  displaced    distance in px of the band's centre of light from that of the reference band
  centre       flux of the central 8 x 8 px in mag minus the magnitude of the row
  outside      share of the light outside the central 32 x 32 px, of all light in the cutout
"""

import argparse
import glob
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

APERTURE_PX, INNER_PX, CENTRE_PX = 8, 32, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogs", nargs="+", metavar="CATALOG")
    parser.add_argument("--rows", type=int, default=2000, help="rows of each catalog, the first ones")
    parser.add_argument("--bands", help="the bands of cutouts where the catalog does not say it, as u,g,r,i,z")
    parser.add_argument("--column", action="append", default=[], help="ours=theirs, as cutout=image")
    parser.add_argument("--json", action="store_true", help="one JSON object with the medians instead of a table")
    args = parser.parse_args()
    names = dict(pair.split("=", 1) for pair in args.column)
    tables = {catalog: read(catalog, args, names) for catalog in args.catalogs}
    bands = [band for band in next(iter(tables.values()))[0] if all(band in it[0] for it in tables.values())]
    if not bands:
        raise SystemExit("the catalogs have no band in common")
    found = {catalog: figures(*table, bands) for catalog, table in tables.items()}
    if args.json:
        medians = {catalog: {name: {band: float(np.nanmedian(values)) for band, values in by_band.items()}
                             for name, by_band in lines.items()} for catalog, lines in found.items()}
        print(json.dumps(medians, indent=1))
    else:
        show(found, bands)


def read(catalog, args, names):
    """The bands, the cutouts `[row, band, y, x]` and the magnitudes by band."""
    paths = sorted(glob.glob(os.path.join(catalog, "**", "*.parquet"), recursive=True)) or [catalog]
    bands, cutouts, mags, rows = None, [], [], 0
    for path in paths:
        file = pq.ParquetFile(path)
        ours = {names.get(name, name): name for name in ["cutout"]}
        theirs = set(file.schema_arrow.names)
        if not set(ours) <= theirs:
            continue
        here = [name[4:] for name in file.schema_arrow.names if name.startswith("mag_") and "err" not in name]
        bands = bands or (args.bands.split(",") if args.bands else here)
        missing = [f"mag_{band}" for band in bands if f"mag_{band}" not in theirs]
        if missing:
            raise SystemExit(f"{path} has no column {missing[0]}; say with --bands which bands its cutouts have")
        columns = [*ours, *(f"mag_{band}" for band in bands)]
        for batch in file.iter_batches(batch_size=256, columns=columns):
            batch = batch.filter(pc.is_valid(batch.column(next(iter(ours)))))
            pixels = np.asarray(flat(batch.column(next(iter(ours)))), dtype=np.float32)
            if not len(batch):
                continue
            side = round((pixels.size / len(batch) / len(bands)) ** 0.5)
            if side * side * len(bands) * len(batch) != pixels.size:
                raise SystemExit(f"{path}: its cutouts are not {len(bands)} squares; say with --bands which bands they have")
            cutouts.append(pixels.reshape(len(batch), len(bands), side, side))
            mags.append(np.stack([np.asarray(batch.column(f"mag_{band}"), dtype=float) for band in bands], 1))
            rows += len(batch)
            if rows >= args.rows:
                break
        if rows >= args.rows:
            break
    if not rows:
        raise SystemExit(f"{catalog} has no cutouts")
    # Cutouts of unlike sizes are compared over what all have.
    side = min(it.shape[-1] for it in cutouts)
    cutouts = np.concatenate([centre(it, side) for it in cutouts])[: args.rows]
    mags = np.concatenate(mags)[: args.rows]
    whole = np.isfinite(cutouts).all(axis=(1, 2, 3)) & np.isfinite(mags).all(axis=1)
    return bands, cutouts[whole].astype(float), mags[whole]


def flat(column):
    """All numbers of a list, however deeply nested, or of bytes."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(b"".join(column.to_pylist()), dtype=np.float32)
    while not pa.types.is_floating(column.type):
        column = column.flatten()
    return column


def centre(images, side):
    first = (images.shape[-1] - side) // 2
    return images[..., first : first + side, first : first + side]


def figures(bands, cutouts, mags, wanted):
    """Every figure of every galaxy by band."""
    side = cutouts.shape[-1]
    reference = "r" if "r" in wanted else wanted[0]
    places = {band: centroids(cutouts[:, bands.index(band)]) for band in wanted}
    lines = {name: {} for name in ["rms", "correlation", "border", "sky", "asymmetry", "displaced", "centre", "outside"]}
    for band in wanted:
        images = cutouts[:, bands.index(band)]
        outer = np.ones((side, side), bool)
        outer[side // 8 : side - side // 8, side // 8 : side - side // 8] = False
        rms = noise(images, outer, 3)
        # Differences of neighbours fall by the correlation.
        lines["rms"][band] = rms
        lines["correlation"][band] = 1 - (noise(images, outer, 1) / rms) ** 2
        border = np.ones((side, side), bool)
        border[2:-2, 2:-2] = False
        lines["border"][band] = images[:, border].mean(1) / rms
        lines["sky"][band] = mode(images[:, outer]) / rms
        lines["asymmetry"][band] = asymmetry(images, places[reference])
        lines["displaced"][band] = np.hypot(*(places[band] - places[reference]).T)
        flux = np.maximum(centre(images, CENTRE_PX).sum((1, 2)), 1e-9)
        lines["centre"][band] = 22.5 - 2.5 * np.log10(flux) - mags[:, bands.index(band)]
        if side > INNER_PX:
            total = images.sum((1, 2))
            lines["outside"][band] = 1 - centre(images, INNER_PX).sum((1, 2)) / total
    return lines


def noise(images, where, step):
    """Standard deviation of the difference of pixels `step` apart along a row, divided by the root of 2."""
    both = where[:, step:] & where[:, :-step]
    differences = (images[:, :, step:] - images[:, :, :-step])[:, both]
    return 1.4826 * np.median(np.abs(differences), axis=1) / 2**0.5


def mode(values):
    """3 median - 2 mean of the values within 2.5 scatters of their median."""
    median = np.median(values, axis=1, keepdims=True)
    scatter = 1.4826 * np.median(np.abs(values - median), axis=1, keepdims=True)
    kept = np.ma.masked_where(np.abs(values - median) > 2.5 * scatter, values)
    return np.asarray(3 * np.ma.median(kept, axis=1) - 2 * kept.mean(1))


def centroids(images):
    """The centre of light `[row, (y, x)]` in px, weighted with a Gaussian of 2 px about itself."""
    side = images.shape[-1]
    y, x = np.mgrid[:side, :side]
    at = np.full((len(images), 2), (side - 1) / 2)
    for _ in range(12):
        weight = np.exp(-((y - at[:, 0, None, None]) ** 2 + (x - at[:, 1, None, None]) ** 2) / 8)
        light = weight * images
        total = np.maximum(light.sum((1, 2)), 1e-9)
        now = np.stack([(light * y).sum((1, 2)) / total, (light * x).sum((1, 2)) / total], 1)
        # The weight halves the step for a source as wide as itself.
        at = np.clip(at + 1.5 * (now - at), side / 2 - 4, side / 2 + 3)
    return at


def asymmetry(images, places):
    """Half a turn about the nearest half pixel to the centre."""
    y, x = np.mgrid[: images.shape[-1], : images.shape[-1]]
    found = np.empty(len(images))
    for row, (image, (at_y, at_x)) in enumerate(zip(images, np.round(2 * places) / 2)):
        within = np.hypot(y - at_y, x - at_x) <= APERTURE_PX
        turned = image[(2 * at_y - y[within]).astype(int), (2 * at_x - x[within]).astype(int)]
        found[row] = np.abs(image[within] - turned).sum() / np.abs(image[within]).sum()
    return found


def show(found, bands):
    width = max(len(os.path.basename(catalog.rstrip("/"))) for catalog in found)
    print(f"{'':12} {'':{width}} " + " ".join(f"{band:>22}" for band in bands))
    for name in next(iter(found.values())):
        for catalog, lines in found.items():
            cells = []
            for band in bands:
                values = lines[name].get(band)
                if values is None:
                    cells.append(f"{'':>22}")
                    continue
                low, median, high = np.nanquantile(values, [0.25, 0.5, 0.75])
                cells.append(f"{median:>7.3f} ({low:.3f} {high:.3f})".rjust(22))
            print(f"{name:12} {os.path.basename(catalog.rstrip('/')):{width}} " + " ".join(cells))


if __name__ == "__main__":
    main()
