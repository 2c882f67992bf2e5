"""For scale: photo-z of ExtraTrees on the magnitudes alone. `python score_extra_trees.py TRAIN TEST`, two catalogs with `z_spec`.

Needs pyarrow and scikit-learn. Prints bias, sigma_nmad and the fraction beyond 0.05 over the rows of TEST.
"""

import sys

import numpy as np
import pyarrow.dataset as ds
from sklearn.ensemble import ExtraTreesRegressor

MAGS = [f"mag_{band}" for band in "ugriz"]


def rows(catalog):
    table = ds.dataset(catalog, format="parquet", exclude_invalid_files=True).to_table(columns=[*MAGS, "z_spec"])
    values = np.column_stack([table[name].to_numpy() for name in [*MAGS, "z_spec"]]).astype("f8")
    values = values[np.isfinite(values).all(axis=1)]
    mags = values[:, :5]
    return np.column_stack([mags, mags[:, :-1] - mags[:, 1:]]), values[:, 5]


def main(train, test):
    trees = ExtraTreesRegressor(200, min_samples_leaf=5, n_jobs=-1, random_state=0).fit(*rows(train))
    features, z_spec = rows(test)
    dz = (trees.predict(features) - z_spec) / (1 + z_spec)
    spread = 1.4826 * np.median(np.abs(dz - np.median(dz)))
    print(f"{len(dz)} galaxies: bias {dz.mean():.5f}, sigma_nmad {spread:.5f}, beyond 0.05 {np.mean(np.abs(dz) > 0.05):.4f}")


main(*sys.argv[1:])
