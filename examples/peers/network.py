"""Load a model directory into PyTorch: `load(DIR)` is a module from cutouts `[batch, band, px, px]`, mags `[batch, mag]` and, where the model
corrects cutouts for dust, E(B-V) `[batch]` to photo-z `[batch]`.

The network is that of the tests of Hubbleflow, models/tests/reference/astromae.py.
"""

import math
import pathlib
import sys

import torch
from safetensors.torch import load_file

from catalog import config_of

sys.path.append(str(pathlib.Path(__file__).parents[2] / "models/tests/reference"))
from astromae import AstroMAE

PATCH_PX = 8


class Predictor(torch.nn.Module):
    """The preprocessing of `config.json` in float32, then the network.

    `arithmetic` is "fp32"; "autocast", where PyTorch chooses what to compute in bfloat16; or "bf16", where weights are bfloat16 too.
    """

    def __init__(self, config, network, arithmetic="fp32", channels_last=False):
        super().__init__()
        cutout, mag = config["preprocess"]["cutout"], config["preprocess"]["mag"]
        constant = lambda name, values: self.register_buffer(name, torch.tensor(values), persistent=False)
        self.dereddens, self.asinh, self.whitens = bool(cutout.get("dereddening")), cutout["kind"] == "asinh", mag["kind"] == "whiten"
        if self.dereddens:
            constant("extinction", [0.4 * math.log(10) * a for a in cutout["dereddening"]])
        if self.asinh:
            constant("softening", [[[value]] for value in cutout["softening"]])
            constant("scale", [[[value]] for value in cutout["scale"]])
        if self.whitens:
            constant("mean", mag["mean"])
            constant("matrix", mag["matrix"])
        self.autocast = arithmetic == "autocast"
        self.dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(self.dtype).to(memory_format=self.layout)

    def forward(self, cutouts, mags, ebv=None):
        if self.dereddens:
            cutouts = cutouts * torch.exp(ebv[:, None] * self.extinction)[:, :, None, None]
        if self.asinh:
            cutouts = torch.asinh(cutouts / self.softening) / self.scale
        if self.whitens:
            mags = (mags - self.mean) @ self.matrix.T
        cutouts = cutouts.to(self.dtype).contiguous(memory_format=self.layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            z = self.network(cutouts, mags.to(self.dtype)).float()
        # The middle one of quantiles is the median.
        return z if z.dim() == 1 else z[:, z.shape[1] // 2]


def load(directory, arithmetic="fp32", channels_last=False):
    directory = pathlib.Path(directory)
    config = config_of(directory)
    if config["architecture"] != "astromae" or sorted(config["branches"]) != ["encoder", "inception", "magnitude"]:
        raise ValueError(f"{directory}: the peers run an `astromae` with all three branches")
    weights = {name: tensor.float() for name, tensor in load_file(directory / "model.safetensors").items()}
    encoder, bands = config["encoder"], config["bands"]
    network = AstroMAE(
        **{name: encoder[name] for name in ("depth", "heads", "kind", "width")},
        kernel=encoder.get("pcm_kernel", 1),
        group=encoder.get("pcm_group", 1),
        bands=len(bands),
        mags=len(config.get("mags", bands)),
        grid=config["cutout_px"] // PATCH_PX,
        levels=len(weights["concat_block.2.bias"]),
    )
    left = network.load_state_dict(weights, strict=False)
    # The second name of a layer, a branch that the output does not use, and counters.
    spare = ("vis_inception.0.", "vis_inception.8.branch3.", "num_batches_tracked")
    missing = [name for name in left.missing_keys if not any(part in name for part in spare)]
    if missing or left.unexpected_keys:
        raise ValueError(f"{directory}: weights do not fit: {missing} missing, {left.unexpected_keys} unexpected")
    return Predictor(config, network, arithmetic, channels_last).eval()
