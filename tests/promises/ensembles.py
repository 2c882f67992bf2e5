"""Opens an ensemble with qp: ensembles.py PREFIX prints one JSON object."""
import contextlib
import json
import sys

import numpy as np
import qp

# qp prints while it reads.
with contextlib.redirect_stdout(sys.stderr):
    ensemble = qp.read(f"{sys.argv[1]}.pq")
# qp adds the ends of the distributions: the levels 0 and 1.
levels, locs = np.ravel(ensemble.metadata["quants"]), ensemble.objdata["locs"]
assert ensemble.gen_class.name == "quant" and np.all(ensemble.cdf(locs[:, :1]) == 0)
json.dump({
    "levels": levels.tolist(),
    "locs": locs.tolist(),
    "object_id": [str(id) for id in ensemble.ancil["object_id"]],
    "estimates": {name: ensemble.ancil[name].tolist() for name in ["zmode", "zmean", "zmedian"]},
    "median": np.ravel(ensemble.ppf(0.5)).tolist(),
    "mean": np.trapezoid(locs, levels, axis=1).tolist(),
}, sys.stdout)
