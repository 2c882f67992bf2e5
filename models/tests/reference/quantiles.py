"""Quantiles of the reference and their scores, for the tests of the quantile head: `python quantiles.py > quantiles.json`.

All in float64, with weights that follow a rule. Needs torch and numpy.
"""

import json

import numpy as np
import torch
import torch.nn.functional as F

from astromae import LEVELS, AstroMAE, fill, inputs, pinball, quantiles, uniform


def scores(q, z_spec, levels):
    """The mean pinball loss, the CRPS and the fraction within the quantiles of 0.16 and 0.84."""
    losses = pinball(q, z_spec, levels).mean(0)
    low, high = (q[:, levels.index(level)] for level in (0.16, 0.84))
    return {
        "pinball": losses.mean().item(),
        "crps": 2 * torch.trapezoid(losses, torch.tensor(levels, dtype=q.dtype)).item(),
        "coverage_68": ((low <= z_spec) & (z_spec <= high)).double().mean().item(),
    }


def astromae():
    model = fill(AstroMAE(depth=2, levels=len(LEVELS))).double().eval()
    q = model(*(tensor.double() for tensor in inputs()))
    z_spec = torch.tensor([0.05, -4.0, 0.15, 20.0], dtype=torch.float64)
    return {"z_quantiles": q.tolist(), "z_spec": z_spec.tolist(), **scores(q, z_spec, LEVELS)}


def head(batch=7, sizes=(8, 5, 4, 3)):
    """A dense network on embeddings of six components and two magnitudes, with quantiles of three levels."""
    embeddings = 2 * uniform("input.embedding", batch * 6).reshape(batch, 6) - 1
    mags = 15 + 6 * uniform("input.mag", batch * 2).reshape(batch, 2)
    x = torch.from_numpy(np.concatenate([embeddings, mags], 1).astype(np.float32)).double()
    for layer, (width, outputs) in enumerate(zip(sizes, sizes[1:])):
        weight, bias = (
            torch.from_numpy((uniform(f"layers.{layer}.{part}", n) - 0.5).astype(np.float32)).double()
            for part, n in (("weight", outputs * width), ("bias", outputs))
        )
        x = F.linear(x if layer == 0 else F.relu(x), weight.view(outputs, width), bias)
    return {"z_quantiles": quantiles(x).tolist()}


with torch.no_grad():
    print(json.dumps({"astromae": astromae(), "head": head()}))
