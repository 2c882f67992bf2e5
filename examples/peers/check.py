"""Check that the peers predict what Hubbleflow predicts, with models of each kind: `python check.py HUBBLEFLOW [FORM,FORM]`

The models have two blocks and initial weights. All inputs are preprocessed, and cutouts are corrected for dust.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import columns, config_of, parquet_files
from forms import Form, made

DIFFERENCE_MAX = 1e-5
# Of `model init`, with the bands and the pixels of the sample.
MODELS = {
    "point": ([], "ugriz", 32),
    "quantiles": (["--head", "quantiles"], "ugriz", 32),
    "3x3 convolutions": (["--preset", "astromae-pcm3"], "ugriz", 32),
    "plain": (["--preset", "astromae-plain", "--head", "quantiles"], "ugriz", 32),
    "griz, 48 px": (["--bands", "g,r,i,z", "--px", "48", "--mags", "g,r,z"], "griz", 48),
}


def preprocessed(model):
    """Give a model a preprocessing of each kind."""
    config = config_of(model)
    bands, mags = len(config["bands"]), len(config.get("mags", config["bands"]))
    per_band = lambda first, step: [first + step * band for band in range(bands)]
    cutout = {"kind": "asinh", "dereddening": per_band(4.2, -0.7), "softening": per_band(0.05, 0.03), "scale": per_band(0.9, 0.1)}
    mag = {"kind": "whiten", "mean": [17.0] * mags, "matrix": (np.eye(mags) - 0.1 * np.tri(mags)).tolist()}
    config["preprocess"] = {"cutout": cutout, "mag": mag}
    (model / "config.json").write_text(json.dumps(config))


def check(hubbleflow, name, forms, work):
    call = lambda *words: subprocess.run([hubbleflow, *map(str, words)], check=True, capture_output=True)
    init, bands, px = MODELS[name]
    model, catalog, out = work / "model", work / "catalog", work / "out"
    call("model", "init", model, *init, "--depth", 2)
    preprocessed(model)
    call("sample", catalog, "--galaxies", 150, "--drops", 1, "--bad-rows", 0, "--corrections", 0, "--bands", bands, "--px", px)
    call("run", catalog, "--out", out, "--model", model, "--precision", "fp32", "--device", "cpu")
    read = lambda place, names: pa.concat_tables(pq.ParquetFile(file).read(names) for file in parquet_files(str(place))[1])
    expected = read(out / "photoz", ["object_id", "z_phot"]).sort_by("object_id")
    rows = read(catalog, ["object_id", *columns(config_of(model))]).sort_by("object_id")
    assert rows["object_id"].equals(expected["object_id"]), f"{name}: {len(expected)} of {len(rows)} rows predicted"
    for form in forms:
        z_phot = Form(made(model, form, 64, 1, work / "forms"))(rows)
        difference = np.abs(z_phot - expected["z_phot"].to_numpy()).max()
        print(f"{name}: {form} differs by {difference:.1e} at most", flush=True)
        assert difference < DIFFERENCE_MAX


def main(hubbleflow, forms="eager,eager-channels-last,openvino,onnxruntime"):
    for name in MODELS:
        with tempfile.TemporaryDirectory() as work:
            check(hubbleflow, name, forms.split(","), pathlib.Path(work))


if __name__ == "__main__":
    main(*sys.argv[1:])
