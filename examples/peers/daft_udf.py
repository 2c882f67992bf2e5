"""Predict with Daft: read Parquet, a class that holds the network, write Parquet. `python daft_udf.py CATALOG FORM OUT`"""

import os
import sys

import daft
import pyarrow as pa

from catalog import columns, config_of, parquet_files
from forms import Form

catalog, form, out = sys.argv[1:]
names = columns(config_of(form))


@daft.cls(max_concurrency=1)
class Predict:
    def __init__(self):
        self.form = Form(form)

    @daft.method.batch(return_dtype=daft.DataType.float32(), batch_size=1024)
    def z_phot(self, *columns):
        return pa.array(self.form(pa.table([column.to_arrow() for column in columns], names=names)))


s3 = daft.io.S3Config(endpoint_url=os.environ.get("AWS_ENDPOINT"), region_name=os.environ.get("AWS_REGION"))
io = daft.io.IOConfig(s3=s3)
scheme = "s3://" if catalog.startswith("s3://") else ""
galaxies = daft.read_parquet([scheme + file for file in parquet_files(catalog)[1]], io_config=io)
z_phot = Predict().z_phot(*(daft.col(name) for name in names)).alias("z_phot")
galaxies.select("object_id", z_phot).write_parquet(out, io_config=io)
