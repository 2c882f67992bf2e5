#!/usr/bin/env python3
"""Shows what each branch of a trained network is worth alone, and what observed cutouts change.

Usage: scripts/show_branches.py HUBBLEFLOW MODEL UNSEEN [OBSERVED [R_MAX]]

UNSEEN is a catalog of `hubbleflow sample test --parents test`. A branch is left out by giving the head the means of its
features over UNSEEN; nothing is trained again. The first table has the scores on UNSEEN. OBSERVED has real galaxies with
model magnitudes of the SDSS. The second table is of its rows with r < R_MAX (17.85), in units of dz/(1+z):

  to trees             z minus that of ExtraTrees on magnitudes and colours, taught on the sample survey's real galaxies
  observed - rendered  z of the observed cutout minus the mean z of RENDERINGS rendered ones
  renderings           rms of z of a rendering minus the mean of its galaxy
  another's            the same with the cutouts of other galaxies

`hubbleflow sample --mag-noise 0` renders each row with its magnitudes, and the redshift of the trees if it has no z_spec;
all else is drawn. E(B-V) too, but the model corrects cutouts for dust.
Needs torch, safetensors, scikit-learn, numpy and pyarrow.
"""
import glob
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from scores import beyond, relative, sigma_nmad, trees

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples/peers"))
from network import load

RENDERINGS = 200
MAGS, OTHER_COLUMNS = [f"mag_{band}" for band in "ugriz"], ["object_id", "ra", "dec", "ebv", "z_spec", "cutout"]
BRANCHES = ["encoder", "Inception", "magnitude"]
WAYS = {"all three": BRANCHES, **{f"{name} alone": [name] for name in BRANCHES}}
WAYS |= {f"without {name}": [other for other in BRANCHES if other != name] for name in BRANCHES} | {"none": []}
HEADER = ["to trees: mean", "rms", "observed - rendered: mean", "rms", "renderings: rms", "another's: rms"]


class Branches:
    """A network whose branches can be replaced by the means of their features."""

    def __init__(self, directory):
        self.predictor, self.caught = load(directory), []
        network = self.predictor.network
        self.side_px = 8 * network.blocks[0].grid
        self.head = network.concat_block
        self.head.register_forward_pre_hook(lambda _, inputs: self.caught.append(inputs[0]))
        inception = network.inception_model
        self.widths = [part[-1].out_features for part in (network.vit_block, inception.vis_inception, inception.magnitude_block)]

    def features(self, batch):
        """The features of the branches side by side, `[row, feature]`."""
        cutouts = batch["cutout"].combine_chunks()
        side = round((cutouts.type.list_size / 5) ** 0.5)
        middle = slice((side - self.side_px) // 2, (side + self.side_px) // 2)
        cutouts = cutouts.flatten().to_numpy().reshape(-1, 5, side, side)[..., middle, middle]
        self.caught.clear()
        self.predictor(*map(torch.tensor, (cutouts, mags_of(batch), batch["ebv"].to_numpy().astype("f4"))))
        return self.caught[0].numpy()

    def predict(self, features, means, kept):
        out = self.head(torch.tensor(np.where(np.repeat([name in kept for name in BRANCHES], self.widths), features, means)))
        return out[:, out.shape[1] // 2].numpy()


def mags_of(table):
    return np.stack([table[name].to_numpy() for name in MAGS], 1).astype("f4")


def read(catalog, branches):
    """The latest fit row of each object: its features, magnitudes and z_spec."""
    rows = []
    for path in sorted(glob.glob(f"{catalog}/**/*.parquet", recursive=True)):
        for batch in map(pa.table, pq.ParquetFile(path).iter_batches(250, columns=[*OTHER_COLUMNS, *MAGS])):
            pixels = batch["cutout"].combine_chunks().flatten().to_numpy().reshape(len(batch), -1)
            mags_fit = ((mags_of(batch) > 5) & (mags_of(batch) < 35)).all(1)
            fit = mags_fit & np.isfinite(pixels).all(1) & np.isfinite(batch["ra"]) & (np.abs(batch["dec"]) <= 90)
            batch = batch.filter(pa.array(fit))
            rows.append((branches.features(batch), mags_of(batch), batch["z_spec"].to_numpy(), batch["object_id"].to_numpy()))
    features, mags, z_spec, ids = map(np.concatenate, zip(*rows))
    latest = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
    return features[latest], mags[latest], z_spec[latest]


def show_scores(branches, features, means, z_spec):
    print(f"{len(z_spec)} galaxies\n\n| | bias | sigma_nmad | outlier_fraction_0.05 |\n|---|---|---|---|")
    for way, kept in WAYS.items():
        dz = relative(branches.predict(features, means, kept), z_spec)
        print(f"| {way} | {dz.mean():.4f} | {sigma_nmad(dz):.4f} | {beyond(dz):.4f} |")


def tree_redshifts(mags):
    """Redshifts of ExtraTrees that were taught on the sample survey's real galaxies."""
    table = np.loadtxt(ROOT / "engine/sample/data/sdss_mgs.txt")
    return trees(table[:, 1:6], table[:, 0])(mags.astype("f8"))


def render(hubbleflow, mags, z, side_px, work):
    """Makes a catalog of about RENDERINGS of each galaxy."""
    # Galaxies are drawn between a row and its 5 nearest: between equal ones, if each is there 8 times.
    np.savetxt(work / "table.txt", np.tile(np.column_stack([mags, z]), (8, 1)), header="u g r i z zs", comments="#", fmt="%.6f")
    options = f"--mag-noise 0 --px {side_px} --drops 1 --bad-rows 0 --seed 5 --galaxies {RENDERINGS * len(mags)} --photometry"
    command = [hubbleflow, "sample", work / "rendered", *options.split(), work / "table.txt"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return work / "rendered"


def show_observed(hubbleflow, branches, means, observed, r_max):
    columns = read(observed, branches)
    features, mags, z_spec = (column[columns[1][:, 2] < r_max] for column in columns)
    z_trees = tree_redshifts(mags)
    with tempfile.TemporaryDirectory() as work:
        z = np.where(np.isfinite(z_spec), z_spec, z_trees)
        rendered, rendered_mags, _ = read(render(hubbleflow, mags, z, branches.side_px, pathlib.Path(work)), branches)
    galaxy = np.array([np.argmin(np.abs(mags - row).sum(1)) for row in rendered_mags])
    swapped = rendered[np.random.default_rng(1).permutation(len(rendered))]
    swapped[:, -branches.widths[2]:] = rendered[:, -branches.widths[2]:]
    print(f"\n{len(mags)} galaxies, {len(galaxy)} renderings\n\n| | {' | '.join(HEADER)} |\n|{'---|' * (len(HEADER) + 1)}")
    for way, kept in WAYS.items():
        z, z_rendered, z_swapped = (branches.predict(rows, means, kept) for rows in (features, rendered, swapped))
        mean = np.bincount(galaxy, z_rendered) / np.bincount(galaxy)
        to_trees, change = relative(z, z_trees), relative(z, mean)
        scatter, of_another = (relative(other, mean[galaxy]) for other in (z_rendered, z_swapped))
        print(f"| {way} | {to_trees.mean():.4f} | {rms(to_trees):.4f} | {change.mean():.4f} ± {change.std() / len(change) ** 0.5:.4f} "
              f"| {rms(change):.4f} | {rms(scatter):.4f} | {rms(of_another):.4f} |")


def rms(values):
    return np.mean(values**2) ** 0.5


@torch.inference_mode()
def main(hubbleflow, model, unseen, observed=None, r_max="17.85"):
    branches = Branches(model)
    features, _, z_spec = read(unseen, branches)
    means = features.mean(0, dtype="f8").astype("f4")
    show_scores(branches, features, means, z_spec)
    if observed:
        show_observed(hubbleflow, branches, means, observed, float(r_max))


if __name__ == "__main__":
    main(*sys.argv[1:])
