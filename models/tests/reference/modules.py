"""Writes ../data/three_outputs.pt: a module that returns a tuple, which tch cannot trace."""

from pathlib import Path

import torch


class ThreeOutputs(torch.nn.Module):
    """An embedding of [batch, 2], quantiles at three levels, and the redshift."""

    def forward(self, cutouts, mags):
        z = 0.01 * mags[:, 1:2]
        return cutouts.mean((2, 3)), z + torch.tensor([-0.1, 0.0, 0.1]), z[:, 0]


example = torch.rand(2, 2, 16, 16), torch.rand(2, 2)
traced = torch.jit.trace(ThreeOutputs().eval(), example)
traced.save(str(Path(__file__).parent.parent / "data" / "three_outputs.pt"))
