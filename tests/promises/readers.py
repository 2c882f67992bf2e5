"""Reads and writes Parquet with other programs.

readers.py read OUT        reads photoz/ of an output with pyarrow, polars and DuckDB, and prints one JSON object
readers.py write FOLDER    writes catalogs below FOLDER: the same galaxies in every supported form
readers.py quantiles OUT   counts z_quantiles of photoz/, and adds up the second of each list
readers.py metrics OUT     computes the metrics with polars from OUT/photoz and OUT/specz
readers.py checked FOLDER  writes a drop whose pages have checksums
readers.py csv FILE        reads a CSV file with pyarrow, and prints its lines as JSON
"""
import json
import pathlib
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import qp

SIDE = 32
PIXELS = 5 * SIDE * SIDE
BANDS = ["u", "g", "r", "i", "z"]


def read(out):
    files = f"{out}/photoz/**/*.parquet"
    json.dump({
        "pyarrow": with_pyarrow(out),
        "polars": with_polars(files),
        "duckdb": with_duckdb(files),
        "fields": fields(out),
        "notes": notes(out),
    }, sys.stdout)


def quantiles(out):
    files = f"{out}/photoz/**/*.parquet"
    lists = ds.dataset(f"{out}/photoz", format="parquet").to_table(columns=["z_quantiles"])["z_quantiles"]
    second = pc.list_element(lists.drop_null(), 1).cast(pa.float64())
    of_polars = pl.scan_parquet(files).select("z_quantiles").drop_nulls().collect()["z_quantiles"]
    count, total = duckdb.sql(
        "select count(z_quantiles), sum(z_quantiles[2]::double) filter (z_quantiles is not null) "
        f"from read_parquet('{files}')").fetchall()[0]
    json.dump({
        "pyarrow": [len(second), pc.sum(second).as_py()],
        "polars": [len(of_polars), of_polars.arr.get(1).cast(pl.Float64).sum()],
        "duckdb": [count, total],
        "levels": json.loads(fields(out)["z_quantiles"]["levels"]),
    }, sys.stdout)


def metrics(out):
    """For each object its row of the last drop and its last valid spec-z. Withdrawn objects are left out."""
    photoz = pl.read_parquet(f"{out}/photoz/**/*.parquet")
    specz = pl.read_parquet(f"{out}/specz/**/*.parquet")
    columns = ["object_id", "z_spec", "drop"]
    spectra = pl.concat([photoz[columns], specz[columns]]).drop_nulls("z_spec").sort("drop")
    spectra = spectra.unique("object_id", keep="last")[["object_id", "z_spec"]]
    latest = photoz.sort("drop").unique("object_id", keep="last").drop("z_spec")
    stand = latest.filter(pl.col("z_flags") & 1 == 0).join(spectra, on="object_id")
    withdrawn = latest.filter(pl.col("z_flags") & 1 == 1)["object_id"].implode()
    levels = json.loads(fields(out)["z_quantiles"]["levels"]) if "z_quantiles" in stand.columns else []
    stand = stand.with_columns(pl.col("z_phot").cast(pl.Float64), pl.col("z_spec").cast(pl.Float64))
    tile = (pl.col("_healpix_29") // 4 ** 24).cast(pl.String)
    text = lambda edges, digits: edges.map_elements(lambda edge: f"{edge:.{digits}f}", return_dtype=pl.String)
    by = {
        "by_drop": pl.col("drop"),
        "by_mag_r": text((pl.col("mag_r") * 2).floor() / 2, 1),
        "by_z_spec": text((pl.col("z_spec").round(6) / 0.05 + 1e-9).floor() * 0.05 + 1e-12, 2),
        "by_tile": "5/" + tile,
    }
    slices = {name: {key: numbers(of, levels) for (key,), of in stand.with_columns(key.alias("by")).group_by("by")}
              for name, key in by.items()}
    objects = spectra.filter(~pl.col("object_id").is_in(withdrawn)).height
    json.dump({"objects": objects, "all": numbers(stand, levels), **slices}, sys.stdout)


def numbers(of, levels):
    z_phot, z_spec = of["z_phot"], of["z_spec"]
    error = z_phot - z_spec
    dz = error / (1 + z_spec)
    steps = (dz * 1e4).round() / 1e4
    quantile = lambda part: steps.quantile(part, interpolation="linear")
    spread = ((z_spec - z_spec.mean()) ** 2).sum()
    return {
        "n": of.height, "bias": dz.mean(), "bias_median": steps.median(),
        "sigma_nmad": 1.4826 * (steps - steps.median()).abs().median(),
        "sigma_iqr": (quantile(0.75) - quantile(0.25)) / 1.349,
        "outlier_fraction_0.05": (dz.abs() > 0.05).mean(), "outlier_fraction_0.15": (dz.abs() > 0.15).mean(),
        "mse": (error ** 2).mean(), "mae": error.abs().mean(),
        "r2": 1 - (error ** 2).sum() / spread if of.height > 1 and spread > 0 else None,
        **(intervals(of, np.array(levels)) if levels else {}),
    }


def intervals(of, levels):
    """The coverages, the CRPS and the PIT histogram, by numpy."""
    z = of["z_spec"].to_numpy()
    found = {}
    for name in ("68", "95"):
        low, high = (of[f"z_{bound}{name}"].cast(pl.Float64).to_numpy() for bound in ("low", "high"))
        if not np.isnan(low).any():
            found[f"coverage_{name}"] = ((low <= z) & (z <= high)).mean()
    quantiles = of["z_quantiles"].to_numpy().astype(np.float64)
    pit = probability_up_to(z, quantiles, levels)
    error = z[:, None] - quantiles
    loss = np.maximum(levels * error, (levels - 1) * error)
    found["crps"] = (2 * np.trapezoid(loss, levels, axis=1)).mean()
    found["pit"] = np.histogram(pit, bins=np.linspace(0, 1, 21))[0].tolist()
    return found


def probability_up_to(z, quantiles, levels):
    """The PIT. qp, whose CDF is a parabola between quantiles and not a straight line, has it within 0.01."""
    pit = np.array([np.interp(z, row, levels, left=0, right=1) for z, row in zip(z, quantiles)])
    inside = (quantiles[:, 0] <= z) & (z <= quantiles[:, -1])
    if inside.any():
        ensemble = qp.Ensemble(qp.quant, data={"quants": levels, "locs": quantiles[inside]})
        np.testing.assert_allclose(np.ravel(ensemble.cdf(z[inside, None])), pit[inside], rtol=0, atol=0.01)
    return pit


def with_pyarrow(out):
    rows = ds.dataset(f"{out}/photoz", format="parquet").to_table()
    ids = rows["object_id"]
    return [rows.num_rows, pc.min(ids).as_py(), pc.max(ids).as_py(), rows["z_phot"].null_count,
            pc.sum(rows["z_phot"].cast(pa.float64())).as_py(), pc.sum(rows["z_flags"]).as_py()]


def with_polars(files):
    z = pl.col("z_phot")
    row = pl.scan_parquet(files).select(
        pl.len().alias("n"), pl.col("object_id").min().alias("min"), pl.col("object_id").max().alias("max"),
        z.null_count().alias("nulls"), z.cast(pl.Float64).sum().alias("sum"), pl.col("z_flags").sum().alias("flags"))
    return list(row.collect().row(0))


def with_duckdb(files):
    return list(duckdb.sql(
        "select count(*), min(object_id), max(object_id), count(*) filter (z_phot is null), sum(z_phot::double), "
        f"sum(z_flags)::bigint from read_parquet('{files}')").fetchall()[0])


def fields(out):
    schema = pq.read_schema(first_file(out))
    text = lambda facts: {key.decode(): value.decode() for key, value in (facts or {}).items()}
    return {field.name: {"type": str(field.type), **text(field.metadata)} for field in schema}


def notes(out):
    metadata = pq.read_metadata(first_file(out)).metadata
    return {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"hubbleflow")}


def first_file(out):
    return sorted(pathlib.Path(out, "photoz").rglob("*.parquet"))[0]


def pixels(rows):
    """Different pixels for each place and each cutout."""
    return pc.sin(pa.array(range(rows * PIXELS), pa.float32()))


def flat(values, rows):
    return pa.FixedSizeListArray.from_arrays(values, PIXELS)


def nested(values, rows):
    lists = values
    for length in (SIDE, SIDE, 5):
        offsets = pa.array(range(0, len(lists) + 1, length), pa.int32())
        lists = pa.ListArray.from_arrays(offsets, lists)
    return lists


def universe(values, rows):
    """The Multimodal Universe's struct, with its bands in a different order and under the names of their surveys."""
    order = ["z", "r", "u", "i", "g"]
    cutouts = nested(values, rows).to_pylist()
    image = [{"flux": [cutout[BANDS.index(band)] for band in order], "band": [f"sdss-{band}" for band in order],
              "scale": [0.396] * 5} for cutout in cutouts]
    form = pa.struct([("flux", pa.list_(pa.list_(pa.list_(pa.float32())))), ("band", pa.list_(pa.string())),
                      ("scale", pa.list_(pa.float32()))])
    return pa.array(image, form)


def galaxies(rows, cutout, ids=None, of=pa.float32(), mag_list=False):
    place = [row % 400 for row in range(rows)]
    columns = {
        "object_id": pa.array(range(rows), pa.int64()) if ids is None else ids,
        "ra": pa.array([150 + 0.25 * row for row in place], pa.float64()),
        "dec": pa.array([0.125 * row - 10 for row in place], pa.float64()),
    }
    # Multiples of 1/4 are exact in both widths.
    mags = [[mag + 0.25 * (row % 7) for row in place] for mag in (20.0, 18.5, 17.5, 17.0, 16.5)]
    if mag_list:
        columns["mag"] = pa.array([list(row) for row in zip(*mags)], pa.list_(of))
    else:
        columns |= {f"mag_{band}": pa.array(mag, of) for band, mag in zip(BANDS, mags)}
    columns["z_spec"] = pa.array([0.125] * rows, of)
    columns["cutout"] = cutout
    return pa.table(columns)


def write(folder):
    rows = 24
    values = pixels(rows)
    cutout = flat(values, rows)
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * PIXELS), rows, [None, values.buffers()[1]])
    tensor = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [5, SIDE, SIDE]), cutout)
    as_list = pa.ListArray.from_arrays(pa.array(range(0, rows * PIXELS + 1, PIXELS), pa.int32()), values)
    forms = {
        "fixed_size_list": galaxies(rows, cutout),
        "list": galaxies(rows, as_list),
        "large_list": galaxies(rows, as_list.cast(pa.large_list(pa.float32()))),
        "nested_lists": galaxies(rows, nested(values, rows)),
        "fixed_size_binary": galaxies(rows, binary),
        "fixed_shape_tensor": galaxies(rows, tensor),
        "multimodal_universe": galaxies(rows, universe(values, rows)),
        "float64": galaxies(rows, cutout, of=pa.float64()),
        "mag_list": galaxies(rows, cutout, mag_list=True),
    }
    for form, table in forms.items():
        save(table, folder, "int64", form)
    for compression in ("none", "zstd", "lz4", "gzip", "brotli"):
        save(forms["list"], folder, "int64", f"list_{compression}", compression=compression)
    save(forms["list"], folder, "int64", "list_pages_v2", data_page_version="2.0", write_page_index=True)
    save(forms["list"], folder, "int64", "list_row_groups", row_group_size=7)

    names = pa.array([str(row) for row in range(rows)])
    for form in (pa.string(), pa.large_string(), pa.string_view()):
        save(galaxies(rows, cutout, ids=names.cast(form)), folder, "string", str(form))

    # Two values, which a dictionary stores in a few bytes. (A constant cutout would be rejected.)
    two_values = np.where(np.arange(rows * PIXELS) % 7 == 0, 0.5, 0.25).astype(np.float32)
    flat_sky = flat(pa.array(two_values), rows)
    for form, dictionary in (("dictionary", True), ("plain", False)):
        save(galaxies(rows, flat_sky), folder, "constant", form, use_dictionary=dictionary)

    # The same rows in one row group of 60 MB, and in row groups of two batches.
    rows = 3000
    large = galaxies(rows, flat(pixels(rows), rows))
    save(large, folder, "large", "one_row_group")
    save(large, folder, "large", "row_groups", row_group_size=256)


def checked(folder):
    rows = 24
    save(galaxies(rows, flat(pixels(rows), rows)), folder, ".", "drop",
         compression="none", use_dictionary=False, write_page_checksum=True)


def lines(file):
    json.dump(pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)).to_pylist(), sys.stdout)


def save(table, folder, catalog, drop, **options):
    path = pathlib.Path(folder, catalog, drop)
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path / "part-0.parquet", **options)


if __name__ == "__main__":
    commands = {"read": read, "write": write, "checked": checked, "quantiles": quantiles, "metrics": metrics, "csv": lines}
    commands[sys.argv[1]](sys.argv[2])
