"""Write the rows of a catalog as CAI reads them, a file of tensors: `python to_pt.py CATALOG ROWS.pt`"""

import glob
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from network import MAGS, fixed, tensors

catalog, rows = sys.argv[1:]
files = sorted(glob.glob(f"{catalog}/**/*.parquet", recursive=True))
table = fixed(pa.concat_tables([pq.read_table(file, columns=["object_id", "cutout", *MAGS]) for file in files]))
torch.save((torch.from_numpy(table["object_id"].to_numpy().copy()), *tensors(table)), rows)
