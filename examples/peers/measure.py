"""Wall time, CPU time and peak memory of a command and all its processes."""

import contextlib
import glob
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple


class Taken(NamedTuple):
    wall_s: float
    cpu_s: float
    peak_bytes: int


def processes_of(session):
    """CPU seconds so far of each process of a session, and the bytes that it holds: of memory that several share, its part (PSS)."""
    ticks, found = os.sysconf("SC_CLK_TCK"), {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = pathlib.Path(stat).read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            rollup = pathlib.Path(stat).with_name("smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes = [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
        # utime, stime, cutime and cstime.
        found[stat] = (sum(map(int, fields[11:15])) / ticks, 1024 * sum(kilobytes))
    return found


def watch(session, seen, over):
    """Sample a session until it is over: the peak CPU seconds of each process and the peak bytes of all processes."""
    while not over.wait(0.2):
        now = processes_of(session)
        seen["bytes"] = max(seen["bytes"], sum(held for _, held in now.values()))
        for process, (seconds, _) in now.items():
            seen["cpu"][process] = max(seen["cpu"].get(process, 0), seconds)


def measure(command, cores):
    """What a command takes on these cores. The workers of Ray are not its children, so all processes of its session are sampled."""
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, command)]
    seen, over = {"bytes": 0, "cpu": {}}, threading.Event()
    before, began = os.times(), time.perf_counter()
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)
        watcher = threading.Thread(target=watch, args=(started.pid, seen, over))
        watcher.start()
        try:
            code = started.wait()
            wall = time.perf_counter() - began
        finally:
            over.set()
            watcher.join()
            # Whatever is left, also if this program is interrupted.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
        if code:
            log.seek(0)
            sys.exit(f"{' '.join(command)} ended with {code}:\n{log.read().decode()}")
    after = os.times()
    waited = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(wall, max(waited, sum(seen["cpu"].values())), seen["bytes"])
