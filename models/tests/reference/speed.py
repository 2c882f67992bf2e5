"""Rows a second that PyTorch trains the reference network with: `python speed.py fp32|bf16 [threads]`.

A step is what `hubbleflow train finetune` does in one: forward, backward, gradients cut to norm 1, AdamW, 256 rows.
"""

import sys
import time

import torch
import torch.nn.functional as F

from astromae import AstroMAE

BATCH, STEPS = 256, 8


def main(precision, threads=None):
    if threads:
        torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = AstroMAE().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)
    cutouts, mags, z_spec = torch.randn(BATCH, 5, 32, 32), torch.randn(BATCH, 5), 0.3 * torch.rand(BATCH)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            z_phot = model(cutouts, mags)
        loss = F.mse_loss(z_phot.float(), z_spec)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    print(f"{STEPS * BATCH / (time.perf_counter() - began):.1f}")


main(*sys.argv[1:])
