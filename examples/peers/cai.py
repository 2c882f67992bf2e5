"""CAI's way: PyTorch, eager and float32, a DataLoader over a TensorDataset, 512 at a time. `python cai.py ROWS.pt MODEL OUT`

`ROWS.pt` is `(object_id, cutouts, mags)`, as `to_pt.py` makes it. CAI prints a summary and forgets its predictions; here they are
kept.
"""

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, TensorDataset

from network import load

rows, model, out = sys.argv[1:]
torch.set_num_threads(int(os.environ["PEER_CORES"]))
network = load(model)
ids, cutouts, mags = torch.load(rows)
z_phot = []
with torch.no_grad():
    for batch in DataLoader(TensorDataset(cutouts, mags), batch_size=512):
        z_phot.append(network(*batch))
pq.write_table(pa.table({"object_id": ids.numpy(), "z_phot": torch.cat(z_phot).numpy()}), out)
