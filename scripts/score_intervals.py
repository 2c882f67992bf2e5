"""Scores the intervals of a model with quantiles beside a point model: `python score_intervals.py PROGRAM QUANTILES POINT`.

Both are outputs of `hubbleflow run` on the same catalog. Over all objects and for each magnitude bin of 200 objects or
more it prints how many of the z_spec lie in the intervals, and the CRPS beside that of a Gaussian about the point model's
redshift. The Gaussian's bias and width are those of the point model's residuals in the very bin, so it knows these rows.
Needs numpy, polars and scipy.
"""
import json
import subprocess
import sys

import numpy as np
import polars as pl
from scipy.stats import norm


def crps_of_gaussian(z_phot, z_spec):
    """Gneiting and Raftery 2007, equation 21; the residuals are in units of 1 + z_phot."""
    scale = 1 + z_phot
    residual = (z_spec - z_phot) / scale
    sigma = residual.std()
    w = (residual - residual.mean()) / sigma
    crps = w * (2 * norm.cdf(w) - 1) + 2 * norm.pdf(w) - 1 / np.sqrt(np.pi)
    return float(np.mean(sigma * scale * crps))


def main(program, quantiles, point):
    status = subprocess.run([program, "status", quantiles, "--json"], check=True, capture_output=True, text=True).stdout
    metrics = json.loads(status)["metrics"]
    columns = ["object_id", "z_phot", "z_spec", "mag_r"]
    rows = pl.read_parquet(f"{point}/photoz/**/*.parquet", columns=columns + ["z_flags", "drop"])
    rows = rows.sort("drop").unique("object_id", keep="last").filter(pl.col("z_flags") & 1 == 0)
    rows = rows.drop_nulls().with_columns(edge=(pl.col("mag_r") * 2).floor() / 2)
    print("| mag_r | n | coverage_68 | calibrated | coverage_95 | calibrated | crps | Gaussian |")
    print("|---|---|---|---|---|---|---|---|")
    cells = [("all", metrics["all"], rows)]
    for edge, numbers in metrics["by_mag_r"].items():
        cells.append((edge, numbers, rows.filter(pl.col("edge") == float(edge))))
    for name, numbers, of in cells:
        if numbers["n"] < 200:
            continue
        z_phot, z_spec = (of[column].cast(pl.Float64).to_numpy() for column in ("z_phot", "z_spec"))
        assert len(z_phot) == numbers["n"], f"{name}: {len(z_phot)} objects of the point model, {numbers['n']} of the other"
        print(f"| {name} | {numbers['n']} | {numbers['coverage_68']:.3f} | {numbers['calibrated_coverage_68']:.3f} "
              f"| {numbers['coverage_95']:.3f} | {numbers['calibrated_coverage_95']:.3f} "
              f"| {numbers['crps']:.5f} | {crps_of_gaussian(z_phot, z_spec):.5f} |")


main(*sys.argv[1:])
