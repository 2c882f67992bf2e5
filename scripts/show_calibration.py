"""Shows what calibration does for a model that is wrong: `python show_calibration.py PROGRAM FOLDER`.

A model learns redshifts of bright galaxies alone. Faint ones arrive without spectra, drop by drop, then their spectra,
then wrong spectra, then corrections; at last all faint galaxies are withdrawn. After each delivery the script exports the
output and prints, for each drop of galaxies, how many of their true redshifts lie in the exported intervals of 68%, beside
what `status` says. The catalog is rendered (`hubbleflow sample`). Needs numpy and pyarrow.
"""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

BRIGHT = 16.5
DROPS = ["1-bright", "2-faint", "3-faint", "4-faint"]


def main(program, folder):
    folder = pathlib.Path(folder)
    bright, catalog, model, out = (folder / name for name in ("bright", "catalog", "model", "out"))
    run = lambda *words: subprocess.run([program, *map(str, words)], check=True, capture_output=True, text=True).stdout
    seen, survey = (galaxies(run, folder / parents, parents) for parents in ("train", "test"))
    write(bright / "all.parquet", seen.filter(pc.less(seen["mag_r"], BRIGHT)))
    run("train", "finetune", bright, "--out", model, "--branches", "magnitude", "--training", "0:0.8", "--validation",
        "0.8:1", "--test", "1:1", "--epochs", 10, "--learn-preprocess")

    truth = dict(zip(survey["object_id"].to_pylist(), survey["z_spec"].to_numpy()))

    def deliver(name, rows):
        write(catalog / f"{name}.parquet", rows)
        run("run", catalog, "--out", out, "--model", model)
        metrics = json.loads(run("status", out, "--json"))["metrics"]
        run("export", out, "--to", folder / "exports" / name)
        exported = pq.ParquetDataset(folder / "exports" / name).read()
        shown = [coverage(exported, truth, drop) for drop in DROPS]
        told = (metrics["all"][name] for name in ("coverage_68", "calibrated_coverage_68"))
        print(f"| {name} | {metrics['all']['n']} |", " | ".join([*(f"{of:.3f}" for of in told), *shown]), "|", flush=True)
        return metrics["calibration"]

    print("| delivery | n | coverage_68 | calibrated_coverage_68 |", " | ".join(DROPS), "|")
    print("|---" * (4 + len(DROPS)) + "|")
    is_bright = pc.less(survey["mag_r"], BRIGHT)
    before = deliver("1-bright", survey.filter(is_bright))
    faint = survey.filter(pc.invert(is_bright))
    drops = np.array_split(np.arange(faint.num_rows), len(DROPS) - 1)
    for number, rows in enumerate(drops, 2):
        deliver(f"{number}-faint", faint.take(rows).drop_columns("z_spec"))
    spectra = faint.select(["object_id", "z_spec"])
    for number, rows in enumerate(drops, 1 + len(DROPS)):
        right = deliver(f"{number}-spectra", spectra.take(rows))
    # A tenth of the spectra turn out to be wrong in a reduction, and are corrected by the next one.
    some = spectra.filter(pc.equal(pc.bit_wise_and(spectra["object_id"], 7), 0))
    wrong = some.set_column(1, "z_spec", pc.cast(pc.multiply(some["z_spec"], 1.2), some["z_spec"].type))
    assert deliver("8-wrong", wrong) != right
    assert deliver("9-corrected", some) == right
    assert deliver("9-withdrawn", pa.table({"object_id": spectra["object_id"], "deleted": [True] * len(spectra)})) == before


def coverage(exported, truth, drop):
    """How many of the true redshifts of a drop's galaxies lie in the exported intervals."""
    rows = exported.filter(pc.equal(exported["drop"], f"{drop}.parquet"))
    if len(rows) == 0:
        return "–"
    z = np.array([truth[id] for id in rows["object_id"].to_pylist()])
    low, high = (rows[name].to_numpy() for name in ("z_low68", "z_high68"))
    return f"{np.mean((low <= z) & (z <= high)):.3f}"


def galaxies(run, folder, parents):
    """Rendered galaxies; those of the parents `train` and `test` are drawn from other real ones."""
    run("sample", folder, "--galaxies", 12000, "--parents", parents, "--seed", 5, "--px", 32, "--drops", 1, "--bad-rows", 0,
        "--corrections", 0)
    return ds.dataset(folder, format="parquet", exclude_invalid_files=True).to_table()


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, row_group_size=2000)


main(*sys.argv[1:])
