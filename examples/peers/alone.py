"""Time a form alone, without reading and writing, and print JSON: `python alone.py FORM CATALOG SECONDS`

The rows are the first of the catalog, which are predicted again and again. The redshifts of these rows are printed too.
"""

import json
import statistics
import sys
import time

import pyarrow.parquet as pq

from catalog import columns, parquet_files
from forms import Form

folder, catalog, seconds = sys.argv[1:]
form = Form(folder)
where, files = parquet_files(catalog)
rows = pq.ParquetFile(files[0], filesystem=where).read_row_group(0, columns=columns(form.config))
z_phot = form(rows)
rows_of_round = rows.slice(0, form.workers * max(form.batch, 128))
wall, cpu = [], []
end = time.perf_counter() + float(seconds)
while time.perf_counter() < end or len(wall) < 3:
    began = time.perf_counter(), time.process_time()
    form(rows_of_round)
    wall.append(time.perf_counter() - began[0])
    cpu.append(time.process_time() - began[1])
of = lambda times: len(rows_of_round) / statistics.median(times)
print(json.dumps({"galaxies_per_second": of(wall), "galaxies_per_cpu_second": of(cpu), "z_phot": z_phot.tolist()}))
