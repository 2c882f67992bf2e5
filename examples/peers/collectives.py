"""Time the collectives of Hubbleflow and of Open MPI in turn, over TCP on this machine, and print both with their ratio.

    python collectives.py HUBBLEFLOW [--processes 2,4,8] [--turns 3] [other options of `hubbleflow bench collectives`]

Open MPI and mpi4py are those of the Python that runs this (requirements-mpi.txt). Each turn times one after the other;
the table has the medians of the turns. Hubbleflow's allreduce-by-time and allreduce-vectors stand beside MPI's allreduce.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
MPIRUN = pathlib.Path(sys.executable).parent / "mpirun"
TCP_ONLY = ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"]
BESIDE = {"allreduce-by-time": "allreduce", "allreduce-vectors": "allreduce"}


def output(command):
    """What a command prints, as JSON."""
    # Open MPI asks for a word from whoever is root, as in a container.
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def turn(hubbleflow, processes, names, options, found):
    """Time both once. `found` gets the medians by tool, collective and size."""
    of_ours = ["--collectives", ",".join(names)] if names else []
    ours = [hubbleflow, "bench", "collectives", "--json", "--processes", str(processes), *of_ours, *options]
    of_theirs = ["--collectives", ",".join(dict.fromkeys(BESIDE.get(name, name) for name in names))] if names else []
    script = [sys.executable, HERE / "collectives_mpi.py", "--json", *of_theirs, *options]
    theirs = [MPIRUN, "--oversubscribe", "-n", str(processes), *TCP_ONLY, *script]
    for tool, command in (("hubbleflow", ours), ("mpi", theirs)):
        for row in output(command)["rows"]:
            key = (tool, row["collective"], row["bytes"])
            found.setdefault(key, []).append(row["median_us"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hubbleflow")
    parser.add_argument("--processes", default="2,4,8")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--collectives", default="")
    args, options = parser.parse_known_args()
    names = args.collectives.split(",") if args.collectives else []
    print("| processes | collective | bytes | Hubbleflow µs (spread) | Open MPI µs (spread) | ratio |")
    print("|---|---|---|---|---|---|")
    for processes in map(int, args.processes.split(",")):
        found = {}
        for _ in range(args.turns):
            turn(args.hubbleflow, processes, names, options, found)
        for (tool, collective, size), ours in found.items():
            theirs = found.get(("mpi", BESIDE.get(collective, collective), size))
            if tool == "mpi" or not theirs:
                continue
            cells = [f"{statistics.median(us):.0f} ({min(us):.0f}-{max(us):.0f})" for us in (ours, theirs)]
            ratio = statistics.median(ours) / statistics.median(theirs)
            print(f"| {processes} | {collective} | {size} | {cells[0]} | {cells[1]} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
