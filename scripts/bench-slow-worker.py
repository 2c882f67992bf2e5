#!/usr/bin/env python3
"""Times a drop on a cluster of two processes, a core each, of which one is slowed fourfold (it is stopped for three quarters
of each tenth of a second), beside the same on two that are not.

Prints both times, and the first by the ideal: what two workers take, one of which does a quarter of the other's work.
Usage: scripts/bench-slow-worker.py HUBBLEFLOW [GALAXIES]
"""
import os, pathlib, signal, subprocess, sys, tempfile, threading, time

PERIOD_S, AWAKE_S = 0.1, 0.025


def main(hubbleflow, galaxies="100000"):
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two cores are needed, one for each process")
    with tempfile.TemporaryDirectory() as place:
        work = pathlib.Path(place)
        quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([hubbleflow, "model", "init", work / "model", "--depth", "1"], **quiet)
        subprocess.run([hubbleflow, "sample", work / "catalog", "--galaxies", galaxies, "--px", "32", "--drops", "1",
                        "--corrections", "0"], **quiet)
        (work / "hosts").write_text("127.0.0.1:26101\n127.0.0.1:26102\n")

        def run(name, is_slowed):
            command = [hubbleflow, "run", work / "catalog", "--out", work / name, "--model", work / "model", "--threads", "1",
                       "--processes", "2", "--hosts", work / "hosts", "--process"]
            began = time.monotonic()
            both = [subprocess.Popen(["taskset", "-c", str(core), *command, str(number)], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE) for number, core in enumerate(cores)]
            slowing = threading.Thread(target=slow, args=(both[1],))
            if is_slowed:
                slowing.start()
            for process in both:
                if process.wait() != 0:
                    sys.exit(process.stderr.read().decode())
            return time.monotonic() - began

        even, slowed = run("even", False), run("slowed", True)
        ideal = even * 2 / 1.25
        print(f"slow worker: {galaxies} galaxies on two workers {even:.1f} s; one of them slowed fourfold {slowed:.1f} s, "
              f"{slowed / ideal:.2f} times the ideal {ideal:.1f} s")


def slow(process):
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(PERIOD_S - AWAKE_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(AWAKE_S)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), *sys.argv[2:])
