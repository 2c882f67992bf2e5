"""Predict as CAI does: eager float32 PyTorch, a DataLoader over a TensorDataset, batches of 512. `python cai.py ROWS.pt MODEL OUT`

`ROWS.pt` is `(object_id, cutouts, mags, …)` from `to_pt.py`. CAI prints a summary and discards its predictions; this script writes them.
"""

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, TensorDataset

from network import load

rows, model, out = sys.argv[1:]
torch.set_num_threads(len(os.sched_getaffinity(0)))
network = load(model)
ids, *inputs = torch.load(rows)
z_phot = []
with torch.no_grad():
    for batch in DataLoader(TensorDataset(*inputs), batch_size=512):
        z_phot.append(network(*batch))
os.makedirs(out)
pq.write_table(pa.table({"object_id": ids.numpy(), "z_phot": torch.cat(z_phot).numpy()}), f"{out}/part-0.parquet")
