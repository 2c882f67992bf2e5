"""Predict with Daft: read Parquet, a class that holds the network, write Parquet. `python daft_udf.py CATALOG MODEL OUT`"""

import os
import sys

import daft
import pyarrow as pa
import torch

from network import MAGS, fixed, load, tensors

catalog, model, out = sys.argv[1:]


@daft.cls(max_concurrency=1)
class Predict:
    def __init__(self):
        torch.set_num_threads(int(os.environ["PEER_CORES"]))
        self.network = load(model)

    @daft.method.batch(return_dtype=daft.DataType.float32(), batch_size=512)
    def z_phot(self, cutout, *mags):
        columns = {"cutout": cutout.to_arrow()} | {name: mag.to_arrow() for name, mag in zip(MAGS, mags)}
        with torch.no_grad():
            return pa.array(self.network(*tensors(fixed(columns))).numpy())


galaxies = daft.read_parquet(f"{catalog}/**/*.parquet").select("object_id", "cutout", *MAGS)
z_phot = Predict().z_phot(*(daft.col(name) for name in ["cutout", *MAGS])).alias("z_phot")
galaxies.select("object_id", z_phot).write_parquet(out)
