"""Galaxies a CPU second that eager PyTorch predicts with the reference network, in float32 on one thread: `python inference.py BATCH`.

Channels come last in memory, as the convolutions of PyTorch prefer.
"""

import sys
import time

import torch

from astromae import AstroMAE, fill, inputs

ROUNDS, SECONDS = 7, 5.0


def main(batch):
    torch.set_num_threads(1)
    model, (cutouts, mags) = fill(AstroMAE()).eval().to(memory_format=torch.channels_last), inputs(batch)
    cutouts = cutouts.contiguous(memory_format=torch.channels_last)

    def once():
        began = time.process_time()
        model(cutouts, mags)
        return time.process_time() - began

    with torch.inference_mode():
        once()
        batches = max(1, round(SECONDS / ROUNDS / once()))
        rounds = sorted(sum(once() for _ in range(batches)) for _ in range(ROUNDS))
    print(f"{batch * batches / rounds[ROUNDS // 2]:.1f}")


main(int(sys.argv[1]))
