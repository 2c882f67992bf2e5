"""Predict with Ray Data: read Parquet, an actor that holds the network, write Parquet. `python ray_data.py CATALOG MODEL OUT`

One actor uses all cores. Several actors with one thread each were slower.
"""

import glob
import os
import sys

import pyarrow as pa
import ray
import torch

from network import MAGS, fixed, load, tensors

catalog, model, out = sys.argv[1:]
cores = int(os.environ["PEER_CORES"])


class Predict:
    def __init__(self):
        torch.set_num_threads(cores)
        self.network = load(model)

    def __call__(self, table):
        table = fixed(table)
        with torch.no_grad():
            z_phot = self.network(*tensors(table))
        return pa.table({"object_id": table["object_id"], "z_phot": z_phot.numpy()})


ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
files = sorted(glob.glob(f"{os.path.abspath(catalog)}/**/*.parquet", recursive=True))
galaxies = ray.data.read_parquet(files, columns=["object_id", "cutout", *MAGS])
# The actor reserves no core. On a machine with one core, the readers could not run otherwise.
predict = dict(batch_size=512, batch_format="pyarrow", compute=ray.data.ActorPoolStrategy(size=1), num_cpus=0)
galaxies.map_batches(Predict, **predict).write_parquet(os.path.abspath(out))
