"""Losses and gradients of the reference, for the tests of models/src/train: `python gradients.py > gradients.json`.

Each gradient is told by its largest magnitude and its product with a vector that follows from its name. All in float64, batch normalisation in training. Needs torch and numpy.
"""

import json

import numpy as np
import torch
import torch.nn.functional as F

from astromae import LEVELS, AstroMAE, MaskedAutoencoder, fill, inputs, pinball, uniform


def digest(model, loss):
    model.zero_grad()
    loss.backward()
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None or "vis_inception.0." in name:
            continue
        gradient = parameter.grad.flatten()
        probe = torch.from_numpy(2 * uniform(f"probe/{name}", gradient.numel()) - 1)
        tensors[name] = [float(f"{value:.8g}") for value in (gradient.abs().max(), gradient @ probe)]
    return {"loss": loss.item(), "gradients": tensors}


cutouts, mags = (tensor.double() for tensor in inputs())
z_spec = torch.tensor([0.05, 0.1, 0.15, 0.2], dtype=torch.float64)
order = torch.from_numpy(np.argsort(uniform("order", 4 * 16).reshape(4, 16), 1))
cases = {
    "pcm_k1": {"depth": 12},
    "pcm_k3": {"depth": 2, "kernel": 3},
    "plain": {"depth": 2, "kind": "plain"},
}
digests = {}
for name, kwargs in cases.items():
    model = fill(AstroMAE(**kwargs)).double().train()
    digests[f"finetune_{name}"] = digest(model, F.mse_loss(model(cutouts, mags), z_spec))
    model = fill(MaskedAutoencoder(**kwargs)).double().train()
    digests[f"pretrain_{name}"] = digest(model, model.loss(cutouts, order, 4))
model = fill(AstroMAE(depth=2, levels=len(LEVELS))).double().train()
digests["finetune_quantiles"] = digest(model, pinball(model(cutouts, mags), z_spec, LEVELS).mean())
print(json.dumps(digests))
