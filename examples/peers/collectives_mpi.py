"""Time Open MPI's collectives as `hubbleflow bench collectives` times its own; run by `mpirun -n N python collectives_mpi.py`.

    collectives_mpi.py [--bytes 8,1024,…] [--collectives send,allreduce,…] [--rounds 300] [--json]

Before each round all ranks meet at a barrier. A round takes as long as the rank that takes the longest.
"""

import argparse
import json
import time

import numpy as np
from mpi4py import MPI

# As in engine/cli/src/bench/collectives/worker.rs.
BYTES_TIMED_MAX = 64 << 20
ROUNDS_MIN = 10


def collectives(world, message):
    """The collectives by name: each takes part in one round."""
    rank, ranks = world.rank, world.size
    one, all_ = np.empty_like(message), np.empty(len(message) * ranks)
    given = np.ones(len(message) * ranks) if rank == 0 else None
    taken = all_ if rank == 0 else None
    to, from_ = (rank + 1) % ranks, (rank - 1) % ranks
    return {
        "send": lambda: world.Sendrecv(message, to, 0, one, from_, 0),
        "broadcast": lambda: world.Bcast(message),
        "scatter": lambda: world.Scatter(given, one),
        "gather": lambda: world.Gather(message, taken),
        "allgather": lambda: world.Allgather(message, all_),
        "reduce": lambda: world.Reduce(message, one if rank == 0 else None),
        "allreduce": lambda: world.Allreduce(message, one),
        "scan": lambda: world.Scan(message, one),
        "barrier": world.Barrier,
    }


def measure(world, collective, size, rounds_max):
    """A row of the table, on rank 0."""
    call = collectives(world, np.ones(max(1, size // 8)))[collective]
    rounds = max(ROUNDS_MIN, min(rounds_max, BYTES_TIMED_MAX // max(1, size)))
    seconds = np.empty(rounds)
    # Some that do not count.
    for number in range(-((rounds + 9) // 10), rounds):
        world.Barrier()
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        if number >= 0:
            seconds[number] = took
    slowest = np.empty(rounds)
    world.Reduce(seconds, slowest, MPI.MAX)
    slowest.sort()
    low, median, high = (slowest[(rounds - 1) * tenths // 10] for tenths in (1, 5, 9))
    return {
        "processes": world.size,
        "collective": collective,
        "bytes": size,
        "rounds": rounds,
        "median_us": 1e6 * median,
        "low_us": 1e6 * low,
        "high_us": 1e6 * high,
        "bytes_per_second": size / max(median, 1e-9),
    }


def main():
    world = MPI.COMM_WORLD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", default="8,1024,16384,262144,4194304")
    parser.add_argument("--collectives", default="")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sizes = [int(size) for size in args.bytes.split(",")]
    names = args.collectives.split(",") if args.collectives else list(collectives(world, np.ones(1)))
    rows = [
        measure(world, name, size, args.rounds)
        for name in names
        for size in ([0] if name == "barrier" else sizes)
    ]
    if world.rank:
        return
    if args.json:
        print(json.dumps({"mpi": MPI.Get_library_version().split(",")[0], "rows": rows}))
        return
    print(f"{MPI.Get_library_version().split(',')[0]}; a rank a process")
    heads = ("processes", "collective", "bytes", "rounds", "median µs", "10% µs", "90% µs", "MB/s")
    print("{:>9} {:<18} {:>9} {:>6} {:>12} {:>12} {:>12} {:>9}".format(*heads))
    for row in rows:
        print(
            "{processes:>9} {collective:<18} {bytes:>9} {rounds:>6} "
            "{median_us:>12.1f} {low_us:>12.1f} {high_us:>12.1f} {0:>9.1f}".format(row["bytes_per_second"] / 1e6, **row)
        )


if __name__ == "__main__":
    main()
