"""Time Hubbleflow and its peers in turn, and print tables: `python bench.py HUBBLEFLOW MODEL`

The first table is of the network alone on one core, each library in its best form. The others are of whole programs, cold processes that
start, load the model, read Parquet, predict and write Parquet: on all cores, on one core, and from an S3 server and back to it. What a
program predicts must be what Hubbleflow predicts in float32, or its time does not count. Forms are compiled beforehand.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import pyarrow.fs
import pyarrow.parquet as pq

from best_form import CORES, alone, hubbleflow_alone, sample
from catalog import parquet_files, place
from forms import BEST, made
from measure import measure

HERE = pathlib.Path(__file__).parent
# Other processors convert bfloat16 to float32 for each product, which is slower.
MULTIPLIES_BF16 = "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
# The largest difference of a redshift.
TOLERANCE = {"fp32": 1e-5, "bf16": 0.05}
# What each of the whole programs runs, and the library in whose best form.
PROGRAMS = {"PyTorch": "pyarrow_batches.py", "OpenVINO": "pyarrow_batches.py", "Ray Data": "ray_data.py", "Daft": "daft_udf.py"}
LIBRARY = {"Ray Data": "OpenVINO", "Daft": "OpenVINO"}
# Compiled PyTorch holds Python's lock while it predicts. So in a whole program a single thread predicts, on all cores.
THREADS = {"PyTorch": len(CORES)}
S3 = dict(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1", AWS_ALLOW_HTTP="true")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hubbleflow")
    parser.add_argument("model")
    parser.add_argument("--tables", default="alone,local,one-core,s3", help="default: %(default)s")
    parser.add_argument("--tools", default=f"Hubbleflow,CAI,{','.join(PROGRAMS)},ONNX Runtime", help="default: %(default)s")
    parser.add_argument("--precisions", default="fp32,bf16" if MULTIPLIES_BF16 else "fp32", help="default here: %(default)s")
    parser.add_argument("--galaxies", default=10000, type=int, help="default: %(default)s")
    parser.add_argument("--rounds", default=5, type=int, help="default: %(default)s")
    parser.add_argument("--made", default=".peers", help="folder that keeps compiled forms and catalogs; default: %(default)s")
    args = parser.parse_args()
    args.tools, args.precisions = args.tools.split(","), args.precisions.split(",")
    args.catalog = sample(args.hubbleflow, args.galaxies, args.made)
    # A program that is being measured ends with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for table in args.tables.split(","):
        began = time.perf_counter()
        TABLES[table](args)
        print(f"\n{time.perf_counter() - began:.0f} s\n", flush=True)


def form_of(args, library, precision, threads):
    """The best form of a library, compiled for this number of threads unless that was done before."""
    return made(args.model, *BEST[library][precision], threads, args.made)


def spread(numbers, digits):
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f}-{max(numbers):.{digits}f})"


def bench_alone(args):
    """The network alone, on one core, in turns."""
    timed = {}
    if "Hubbleflow" in args.tools:
        for precision in args.precisions:
            timed["Hubbleflow", precision, ""] = lambda precision=precision: hubbleflow_alone(args.hubbleflow, args.model, precision, 3)
    for library, precision in itertools.product(sorted(BEST.keys() & set(args.tools)), args.precisions):
        if precision in BEST[library]:
            name, batch = BEST[library][precision]
            form = form_of(args, library, precision, 1)
            timed[library, precision, f"{name}, {batch}"] = lambda form=form: alone(form, args.catalog, 3)
    rates = {key: [] for key in timed}
    for _ in range(args.rounds):
        for key, time_once in timed.items():
            rates[key].append(time_once()["galaxies_per_cpu_second"])
    print(f"The network alone on one core, medians of {args.rounds} rounds (spread)\n")
    print("| | precision | form, batch | galaxies a CPU second |\n|---|---|---|---|")
    for (tool, precision, form), each in rates.items():
        print(f"| {tool} | {precision} | {form} | {spread(each, 0)} |")


def programs(args, catalog, tools):
    """By tool and precision, the command of each of these tools that is to be timed, up to the place of its output."""
    found = {}
    for tool, precision in itertools.product([tool for tool in tools if tool in args.tools], args.precisions):
        if tool == "Hubbleflow":
            command = [args.hubbleflow, "run", catalog, "--model", args.model, "--precision", precision, "--device", "cpu", "--out"]
        elif tool != "CAI":
            library = LIBRARY.get(tool, tool)
            form = form_of(args, library, precision, THREADS.get(library, 1))
            command = [sys.executable, HERE / PROGRAMS[tool], catalog, form]
        elif precision == "fp32":
            rows = pathlib.Path(args.made) / f"rows-{args.galaxies}.pt"
            subprocess.run([sys.executable, HERE / "to_pt.py", catalog, args.model, rows], check=True)
            command = [sys.executable, HERE / "cai.py", rows, args.model]
        else:
            continue
        found[tool, precision] = command
    return found


def predicted(out):
    """The redshifts that a program wrote, by object."""
    where, files = parquet_files(out)
    rows = {}
    for file in files:
        if "/rejects/" not in file:
            table = pq.ParquetFile(file, filesystem=where).read(["object_id", "z_phot"])
            rows.update(zip(table["object_id"].to_pylist(), table["z_phot"].to_pylist()))
    return rows


def exact_redshifts(args):
    """What Hubbleflow predicts in float32."""
    with tempfile.TemporaryDirectory() as out:
        run = [args.hubbleflow, "run", args.catalog, "--model", args.model, "--precision", "fp32", "--device", "cpu", "--out", out]
        subprocess.run(list(map(str, run)), check=True, capture_output=True)
        return predicted(out)


def bench_programs(args, title, commands, cores, out):
    """Whole programs in turns, each to a new place below `out`."""
    taken, exact = {key: [] for key in commands}, exact_redshifts(args)
    for number in range(args.rounds):
        for (tool, precision), command in commands.items():
            to = f"{out}/{number}-{tool}-{precision}".replace(" ", "-").lower()
            taken[tool, precision].append(measure([*command, to], cores))
            print(f"{title}, {number + 1}: {tool}, {precision}, {taken[tool, precision][-1].wall_s:.1f} s", file=sys.stderr)
            found = predicted(to)
            assert found.keys() == exact.keys(), f"{tool}: {len(found)} predictions, not {len(exact)}"
            far = max(abs(found[row] - exact[row]) for row in exact)
            assert far < TOLERANCE[precision], f"{tool}, {precision}, is {far} from Hubbleflow's float32"
            where, path = place(to)
            where.delete_dir(path)
    print(f"{title}, {args.galaxies} galaxies, cold processes, medians of {args.rounds} rounds (spread)\n")
    print("| | precision | wall s | CPU s | peak GB | galaxies/s | times Hubbleflow's wall |\n|---|---|---|---|---|---|---|")
    medians = {key: statistics.median(each.wall_s for each in rounds) for key, rounds in taken.items()}
    for (tool, precision), rounds in taken.items():
        wall, cpu, held = zip(*rounds)
        held, rate = statistics.median(held) / 1e9, args.galaxies / statistics.median(wall)
        ratio = medians[tool, precision] / medians.get(("Hubbleflow", precision), float("nan"))
        print(f"| {tool} | {precision} | {spread(wall, 1)} | {spread(cpu, 1)} | {held:.2f} | {rate:.0f} | {ratio:.2f} |")


def bench_local(args):
    with tempfile.TemporaryDirectory() as out:
        commands = programs(args, args.catalog, ["Hubbleflow", "CAI", *PROGRAMS])
        bench_programs(args, f"Local Parquet, {len(CORES)} cores", commands, CORES, out)


def bench_one_core(args):
    with tempfile.TemporaryDirectory() as out:
        commands = programs(args, args.catalog, ["Hubbleflow", "OpenVINO"])
        bench_programs(args, "Local Parquet, one core", commands, CORES[:1], out)


@contextlib.contextmanager
def s3_server():
    """An S3 server of its own process, moto, with the bucket `sky`. Its CPU time does not count, though it takes its share of the cores."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if server.poll() is not None:
                sys.exit("moto did not start: is moto[server] of requirements.txt installed?")
            time.sleep(0.1)
        os.environ.update(S3, AWS_ENDPOINT=f"http://127.0.0.1:{port}")
        place("s3://sky")[0].create_dir("sky")
        yield
    finally:
        server.kill()


def bench_s3(args):
    with s3_server():
        pyarrow.fs.copy_files(str(args.catalog), "sky/catalog", destination_filesystem=place("s3://sky")[0])
        commands = programs(args, "s3://sky/catalog", ["Hubbleflow", *PROGRAMS])
        bench_programs(args, f"An S3 server and back to it, {len(CORES)} cores", commands, CORES, "s3://sky/out")


TABLES = {"alone": bench_alone, "local": bench_local, "one-core": bench_one_core, "s3": bench_s3}

if __name__ == "__main__":
    main()
