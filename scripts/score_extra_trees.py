"""For scale: photo-z of ExtraTrees on the magnitudes alone. `python score_extra_trees.py TRAIN TEST`, two catalogs with `z_spec`.

Needs pyarrow and scikit-learn. Prints bias, sigma_nmad and the fraction beyond 0.05 over the rows of TEST.
"""

import sys

import numpy as np
import pyarrow.dataset as ds

from scores import beyond, relative, sigma_nmad, trees

MAGS = [f"mag_{band}" for band in "ugriz"]


def rows(catalog):
    table = ds.dataset(catalog, format="parquet", exclude_invalid_files=True).to_table(columns=[*MAGS, "z_spec"])
    values = np.column_stack([table[name].to_numpy() for name in [*MAGS, "z_spec"]]).astype("f8")
    values = values[np.isfinite(values).all(axis=1)]
    return values[:, :5], values[:, 5]


def main(train, test):
    predict = trees(*rows(train))
    mags, z_spec = rows(test)
    dz = relative(predict(mags), z_spec)
    print(f"{len(dz)} galaxies: bias {dz.mean():.5f}, sigma_nmad {sigma_nmad(dz):.5f}, beyond 0.05 {beyond(dz):.4f}")


main(*sys.argv[1:])
