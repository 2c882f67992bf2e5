"""Predict with Ray Data: read Parquet, an actor that holds the network, write Parquet. `python ray_data.py CATALOG FORM OUT`

One actor uses all cores. Several actors with one thread each were slower.
"""

import os
import sys

import pyarrow as pa
import ray

from catalog import columns, config_of, parquet_files, place
from forms import Form

catalog, form, out = sys.argv[1:]
form = os.path.abspath(form)


class Predict:
    def __init__(self):
        self.form = Form(form)

    def __call__(self, table):
        return pa.table({"object_id": table["object_id"], "z_phot": self.form(table)})


ray.init(num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, log_to_driver=False)
where, files = parquet_files(catalog)
galaxies = ray.data.read_parquet(files, filesystem=where, columns=["object_id", *columns(config_of(form))])
# The actor reserves no core. On a machine with one core, the readers could not run otherwise.
predict = dict(batch_size=1024, batch_format="pyarrow", compute=ray.data.ActorPoolStrategy(size=1), num_cpus=0)
to, path = place(out)
galaxies.map_batches(Predict, **predict).write_parquet(path, filesystem=to)
