"""Predict with pyarrow alone: read Parquet while the network predicts, write Parquet. `python pyarrow_batches.py CATALOG FORM OUT`"""

import sys

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from catalog import columns, parquet_files, place
from forms import Form

# A multiple of the batches of all forms.
ROWS = 1024


def full(batches, rows):
    """The rows of batches in tables of a multiple of `rows` rows each; the last may have any number."""
    held = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        held = pa.concat_tables([held, table]) if held else table
        count = len(held) // rows * rows
        if count:
            yield held.slice(0, count)
            held = held.slice(count)
    if held:
        yield held


catalog, form, out = sys.argv[1:]
form = Form(form)
where, files = parquet_files(catalog)
batches = ds.dataset(files, filesystem=where).to_batches(columns=["object_id", *columns(form.config)], batch_size=ROWS, batch_readahead=4)
schema = pa.schema({"object_id": pa.int64(), "z_phot": pa.float32()})
to, path = place(f"{out}/part-0.parquet")
to.create_dir(path.rpartition("/")[0])
with pq.ParquetWriter(path, schema, filesystem=to) as writer:
    for table, z_phot in form.stream(full(batches, ROWS)):
        writer.write_table(pa.table([table["object_id"], pa.array(z_phot)], schema=schema))
