#!/usr/bin/env python3
"""Times a watch: 60 small drops arrive one a second, each is to be in the ledger within 2 s of its `_SUCCESS`.

Prints the seconds from `_SUCCESS` to the entry (median and most), and the resident memory after drops 10 and 60.
Usage: scripts/bench-watch.py HUBBLEFLOW
"""
import os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time

DROPS, EVERY_S = 60, 1.0


def resident_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def main(hubbleflow):
    with tempfile.TemporaryDirectory() as place:
        work = pathlib.Path(place)
        quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([hubbleflow, "model", "init", work / "model", "--depth", "1"], **quiet)
        subprocess.run([hubbleflow, "sample", work / "ready", "--galaxies", "6000", "--px", "32",
                        "--drops", str(DROPS)], **quiet)
        catalog, ledger = work / "catalog", work / "out/_hubbleflow/ledger"
        catalog.mkdir()
        command = [hubbleflow, "watch", catalog, "--out", work / "out", "--model", work / "model", "--settle", "1h"]
        watch = subprocess.Popen(command, stderr=subprocess.PIPE)
        wait_for_start(work / "out", watch)
        whole, resident = [], {}
        for number, drop in enumerate(sorted((work / "ready").iterdir()), 1):
            time.sleep(EVERY_S)
            shutil.copytree(drop, catalog / drop.name)
            (catalog / drop.name / "_SUCCESS").touch()
            whole.append((catalog / drop.name / "_SUCCESS").stat().st_mtime)
            if number in (10, DROPS):
                wait_for(lambda: len(entries(ledger)) >= number)
                resident[number] = resident_mb(watch.pid)
        committed = [entry.stat().st_mtime for entry in entries(ledger)]
        watch.send_signal(signal.SIGTERM)
        if watch.wait() != 0 or len(committed) != DROPS:
            sys.exit(watch.stderr.read().decode())
        took = [entry - ready for ready, entry in zip(whole, committed)]
        print(f"watch: {DROPS} drops, _SUCCESS to entry: median {statistics.median(took):.2f} s, most {max(took):.2f} s (drop {took.index(max(took)) + 1}); "
              f"resident after drop 10 {resident[10]:.0f} MB, after drop {DROPS} {resident[DROPS]:.0f} MB")


def entries(ledger):
    return sorted(ledger.glob("*.json")) if ledger.exists() else []


def wait_for_start(out, watch):
    """The output is tried when the watch begins."""
    wait_for(lambda: (out / "_hubbleflow").exists() or watch.poll() is not None)


def wait_for(is_so):
    while not is_so():
        time.sleep(0.02)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
