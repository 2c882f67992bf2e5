"""Load a model directory into PyTorch: `load(DIR)` is a module from cutouts `[batch, 5, px, px]` and mags `[batch, 5]` to photo-z `[batch]`."""

import json
import pathlib
import sys

import pyarrow as pa
import torch
from safetensors.torch import load_file

sys.path.append(str(pathlib.Path(__file__).parents[2] / "models/tests/reference"))
from astromae import AstroMAE

MAGS = [f"mag_{band}" for band in "ugriz"]


class Predictor(torch.nn.Module):
    """The network with the preprocessing of `config.json`."""

    def __init__(self, config, weights):
        super().__init__()
        encoder = config["encoder"]
        self.network = AstroMAE(
            depth=encoder["depth"], heads=encoder["heads"], kind=encoder["kind"], kernel=encoder["pcm_kernel"], group=encoder["pcm_group"]
        )
        left = self.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False)
        # The second name of a layer, a branch that the output does not use, and counters.
        spare = ("vis_inception.0.", "vis_inception.8.branch3.", "num_batches_tracked")
        missing = [name for name in left.missing_keys if not any(part in name for part in spare)]
        if missing or left.unexpected_keys:
            raise ValueError(f"weights do not fit: {missing} missing, {left.unexpected_keys} unexpected")
        if "inception_model.vis_inception.0.weight" in left.missing_keys:  # The second name of the layer.
            self.network.inception_model.vis_inception[0] = self.network.inception_model.conv2d_init
        cutout, mag = config["preprocess"]["cutout"], config["preprocess"]["mag"]
        self.asinh, self.whiten = cutout["kind"] == "asinh", mag["kind"] == "whiten"
        if self.asinh:
            self.register_buffer("softening", torch.tensor(cutout["softening"]).view(-1, 1, 1))
            self.register_buffer("scale", torch.tensor(cutout["scale"]).view(-1, 1, 1))
        if self.whiten:
            self.register_buffer("mean", torch.tensor(mag["mean"]))
            self.register_buffer("matrix", torch.tensor(mag["matrix"]))

    def forward(self, cutouts, mags):
        if self.asinh:
            cutouts = torch.asinh(cutouts / self.softening) / self.scale
        if self.whiten:
            mags = (mags - self.mean) @ self.matrix.T
        return self.network(cutouts, mags)


def load(directory):
    directory = pathlib.Path(directory)
    config = json.loads((directory / "config.json").read_text())
    if config["architecture"] != "astromae" or len(config["branches"]) != 3:
        raise ValueError(f"{directory}: the peers run the whole AstroMAE")
    return Predictor(config, load_file(directory / "model.safetensors")).eval()


def tensors(table):
    """The cutouts and mags of a table of galaxies."""
    cutouts = table["cutout"].combine_chunks()
    side = round((cutouts.type.list_size / 5) ** 0.5)
    cutouts = torch.from_numpy(cutouts.flatten().to_numpy().reshape(-1, 5, side, side).copy())
    mags = torch.stack([torch.from_numpy(table[name].to_numpy(zero_copy_only=False).copy()) for name in MAGS], 1)
    return cutouts, mags


def fixed(columns):
    """A table of the columns of a batch, with cutouts as fixed-size lists again."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    cutouts = table["cutout"].combine_chunks()
    if isinstance(cutouts, pa.ExtensionArray):
        cutouts = cutouts.storage
    if not pa.types.is_fixed_size_list(cutouts.type):
        values = cutouts.flatten()
        cutouts = pa.FixedSizeListArray.from_arrays(values, len(values) // max(len(cutouts), 1))
    return table.set_column(table.schema.get_field_index("cutout"), "cutout", cutouts)
