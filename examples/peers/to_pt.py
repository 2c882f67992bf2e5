"""Write the rows of a catalog as CAI reads them, a file of tensors: `python to_pt.py CATALOG MODEL ROWS.pt`"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from catalog import arrays, columns, config_of, parquet_files

catalog, model, rows = sys.argv[1:]
config = config_of(model)
where, files = parquet_files(catalog)
table = pa.concat_tables([pq.read_table(file, columns=["object_id", *columns(config)], filesystem=where) for file in files])
torch.save([torch.tensor(array) for array in [table["object_id"].to_numpy(), *arrays(table, config)]], rows)
