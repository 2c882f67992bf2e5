"""A network of PyTorch, traced, beside itself: traced.py save PAGE FOLDER, traced.py compare FOLDER CATALOG OUT.

`save` runs the Python of docs/torchscript.md, and saves a network as large as ResNet-18 with it.
"""

import pathlib
import re
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        if stride == 1 and inputs == outputs:
            self.short = nn.Identity()

    def forward(self, x):
        return torch.relu(self.layers(x) + self.short(x))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016) on five bands, with the magnitudes beside its features."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(5, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        strides = [1, 1, 2, 1, 2, 1, 2, 1]
        self.blocks = nn.Sequential(*(Residual(*sizes) for sizes in zip(widths, widths[1:], strides)))
        self.predict = nn.Linear(512 + 5, 1)

    def forward(self, cutouts, mags):
        features = self.blocks(self.stem(torch.asinh(cutouts))).mean((2, 3))
        return self.predict(torch.cat([features, mags - 17], 1))


def save(page, folder):
    folder.mkdir()
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(block.replace('"small"', repr(str(folder / "small"))), scope)
    torch.manual_seed(0)
    network = ResNet18()
    bands = ["u", "g", "r", "i", "z"]
    scope["save"](network, folder / "resnet", name="ResNet-18", bands=bands, cutout_px=64, mags=bands)
    torch.save(network.state_dict(), folder / "weights.pt")


def compare(folder, catalog, out):
    network = ResNet18()
    network.load_state_dict(torch.load(folder / "weights.pt"))
    network.eval()
    predicted = pq.read_table(out / "photoz", columns=["object_id", "z_phot"]).to_pydict()
    predicted = dict(zip(predicted["object_id"], predicted["z_phot"]))
    furthest, rows = 0.0, 0
    for file in sorted(catalog.glob("*/*.parquet")):
        table = pq.read_table(file)
        cutouts = table["cutout"].combine_chunks()
        cutouts = getattr(cutouts, "storage", cutouts).flatten().to_numpy().reshape(-1, 5, 64, 64)
        mags = np.stack([table[f"mag_{band}"].to_numpy() for band in "ugriz"], 1)
        with torch.no_grad():
            expected = network(torch.from_numpy(cutouts.copy()), torch.from_numpy(mags.astype(np.float32)))[:, 0].tolist()
        for object_id, z in zip(table["object_id"].to_pylist(), expected):
            if object_id in predicted:
                furthest, rows = max(furthest, abs(predicted[object_id] - z)), rows + 1
    assert rows == len(predicted) > 0, (rows, len(predicted))
    assert furthest < 1e-5, furthest
    print(f"{rows} redshifts, {furthest} from PyTorch's at most")


action, *paths = sys.argv[1:]
{"save": save, "compare": compare}[action](*map(pathlib.Path, paths))
