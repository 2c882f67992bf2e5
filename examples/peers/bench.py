"""Time Hubbleflow and its peers in turn and print a table: `python bench.py HUBBLEFLOW MODEL [GALAXIES [ROUNDS]]`

Each measurement is a cold process: start, load the model, read, predict, write. CPU time and peak memory include the children of the
process. The workers of Ray are not its children, so all processes of its session are sampled.
"""

import glob
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
CORES = len(os.sched_getaffinity(0))
# Other processors convert bfloat16 to float32 for each product, which is slower.
MULTIPLIES_BF16 = "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()


def processes_of(session):
    """CPU seconds so far and resident bytes of each process of a session."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = pathlib.Path(stat).read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            # utime, stime, cutime and cstime.
            found[stat] = (sum(map(int, fields[11:15])) / ticks, int(fields[21]) * page)
    return found


def watch(session, seen, over):
    """Sample a session until it is over: the peak CPU seconds of each process and the peak bytes of all processes."""
    while not over.wait(0.1):
        now = processes_of(session)
        seen["bytes"] = max(seen["bytes"], sum(held for _, held in now.values()))
        for process, (seconds, _) in now.items():
            seen["cpu"][process] = max(seen["cpu"].get(process, 0), seconds)


def measure(command):
    """Wall seconds, CPU seconds and peak bytes of a command and its processes."""
    environment = dict(os.environ, PEER_CORES=str(CORES), RAY_DEDUP_LOGS="0")
    seen, over = {"bytes": 0, "cpu": {}}, threading.Event()
    before, began = os.times(), time.perf_counter()
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)
        watcher = threading.Thread(target=watch, args=(started.pid, seen, over))
        watcher.start()
        code = started.wait()
        wall = time.perf_counter() - began
        over.set()
        watcher.join()
        if code:
            log.seek(0)
            sys.exit(f"{command[0]} ended with {code}:\n{log.read().decode()}")
    after = os.times()
    waited = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, max(waited, sum(seen["cpu"].values())), seen["bytes"]


def predicted(out):
    files = [out] if os.path.isfile(out) else glob.glob(f"{out}/**/*.parquet", recursive=True)
    files = [file for file in files if "/rejects/" not in file]
    rows = {}
    for file in files:
        table = pq.ParquetFile(file).read(["object_id", "z_phot"])
        rows.update(zip(table["object_id"].to_pylist(), table["z_phot"].to_pylist()))
    return rows


def main(hubbleflow, model, galaxies=20000, rounds=3):
    work = pathlib.Path(tempfile.mkdtemp())
    catalog, rows, out = work / "catalog", work / "rows.pt", work / "out"
    sample = [hubbleflow, "sample", catalog, "--galaxies", str(galaxies), "--px", "32", "--drops", "1", "--bad-rows", "0"]
    subprocess.run([*sample, "--corrections", "0"], check=True, capture_output=True)
    subprocess.run([sys.executable, HERE / "to_pt.py", catalog, rows], check=True)
    python = lambda name, *args: [sys.executable, HERE / name, *args, model, out]
    run = lambda precision: [hubbleflow, "run", catalog, "--out", out, "--model", model, "--precision", precision, "--device", "cpu"]
    peers = {
        "Hubbleflow, fp32": run("fp32"),
        **({"Hubbleflow, bf16": run("bf16")} if MULTIPLIES_BF16 else {}),
        "CAI's way (PyTorch eager)": python("cai.py", rows),
        "Ray Data": python("ray_data.py", catalog),
        "Daft": python("daft_udf.py", catalog),
    }
    taken, reference = {name: [] for name in peers}, None
    for _ in range(int(rounds)):
        for name, command in peers.items():
            taken[name].append(measure([str(word) for word in command]))
            answer = predicted(str(out))
            reference = reference or answer
            assert answer.keys() == reference.keys(), f"{name}: {len(answer)} predictions, not {len(reference)}"
            far = max(abs(answer[row] - reference[row]) for row in reference)
            assert far < (0.05 if "bf16" in name else 1e-4), f"{name} is {far} from Hubbleflow's fp32"
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    print(f"{galaxies} galaxies, {CORES} cores, cold processes, medians of {rounds} rounds\n")
    print("| | wall s (spread) | CPU s | peak GB | galaxies/s | times Hubbleflow fp32's wall |\n|---|---|---|---|---|---|")
    wall_of = {name: [wall for wall, _, _ in each] for name, each in taken.items()}
    first = statistics.median(wall_of["Hubbleflow, fp32"])
    for name, each in taken.items():
        wall, cpu, held = (statistics.median(column) for column in zip(*each))
        spread = f"{min(wall_of[name]):.1f}-{max(wall_of[name]):.1f}"
        print(f"| {name} | {wall:.1f} ({spread}) | {cpu:.1f} | {held / 1e9:.2f} | {int(galaxies) / wall:.0f} | {wall / first:.2f} |")
    precisions = ["f32", "bf16"] if MULTIPLIES_BF16 else ["f32"]
    alone = [sys.executable, HERE / "openvino_alone.py", model, *precisions]
    alone = subprocess.run(alone, check=True, capture_output=True, text=True)
    print(f"\nOpenVINO, the network alone on one core:\n{alone.stdout.strip()}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
