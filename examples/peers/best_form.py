"""Time the network alone in each form, and print which is fastest: `python best_form.py HUBBLEFLOW MODEL`

Each form is timed on one core in batches of several sizes. In its fastest batch it is then timed on all cores, with a batch for each core
and with all cores on a batch. The first line is Hubbleflow itself. CPU seconds: what other programs take does not count.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from forms import FORMS, made

HERE = pathlib.Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))


def output(words, cores):
    words = ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, words)]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def hubbleflow_alone(hubbleflow, model, precision, seconds):
    """What `bench model` prints, on one core."""
    words = [hubbleflow, "bench", "model", model, "--device", "cpu", "--precision", precision, "--seconds", seconds, "--json"]
    return output(words, CORES[:1])


def alone(form, catalog, seconds, cores=CORES[:1]):
    """What a form does, without reading and writing."""
    return output([sys.executable, HERE / "alone.py", form, catalog, seconds], cores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hubbleflow")
    parser.add_argument("model")
    parser.add_argument("--forms", default=",".join(FORMS), help="default: %(default)s")
    parser.add_argument("--batches", default="64,128,256,512", help="default: %(default)s")
    parser.add_argument("--seconds", default=3.0, type=float, help="how long each is timed; default: %(default)s")
    parser.add_argument("--made", default=".peers", help="folder that keeps compiled forms and a sample catalog; default: %(default)s")
    parser.add_argument("--only-make", action="store_true", help="compile the forms, and time nothing")
    args = parser.parse_args()
    names, batches = args.forms.split(","), list(map(int, args.batches.split(",")))
    catalog = sample(args.hubbleflow, 2000, args.made)
    make = lambda name, batch, threads=1: made(args.model, name, batch, threads, args.made)
    forms = {(name, batch): make(name, batch) for name in names for batch in batches}
    if args.only_make:
        return
    exact = np.array(alone(make("eager", 128), catalog, 0)["z_phot"])
    print(f"| form | batch | galaxies a CPU second | galaxies/s, a batch for each of {len(CORES)} cores | all cores on a batch | dz, mean (largest) |")
    print("|---|---|---|---|---|---|")
    for precision in ("fp32", "bf16"):
        rate = hubbleflow_alone(args.hubbleflow, args.model, precision, args.seconds)["galaxies_per_cpu_second"]
        print(f"| Hubbleflow, {precision} | 128 | {rate:.0f} | | | |", flush=True)
    for name in names:
        done = {batch: alone(forms[name, batch], catalog, args.seconds) for batch in batches}
        best = max(batches, key=lambda batch: done[batch]["galaxies_per_cpu_second"])
        for batch in batches:
            off = np.abs(done[batch]["z_phot"] - exact) / (1 + exact)
            on_all = ["", ""]
            if batch == best:
                split = [make(name, batch, threads) for threads in (1, len(CORES))]
                on_all = [f"{alone(form, catalog, args.seconds, CORES)['galaxies_per_second']:.0f}" for form in split]
            rate = done[batch]["galaxies_per_cpu_second"]
            print(f"| {name} | {batch} | {rate:.0f} | {on_all[0]} | {on_all[1]} | {off.mean():.1e} ({off.max():.1e}) |", flush=True)


def sample(hubbleflow, galaxies, below):
    """A sample catalog, which is made unless it is there."""
    catalog = pathlib.Path(below) / f"catalog-{galaxies}"
    if not catalog.exists():
        words = [hubbleflow, "sample", catalog, "--galaxies", galaxies, "--px", 32, "--drops", 1, "--bad-rows", 0, "--corrections", 0]
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return catalog


if __name__ == "__main__":
    main()
