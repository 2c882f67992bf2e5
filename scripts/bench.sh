#!/usr/bin/env bash
# Times the whole job on this machine: rendering galaxies to local disk, and predicting them by an AstroMAE with initial
# weights, on one thread and on two; the model, reading and exchanging alone. Prints wall and CPU seconds, peak memory and the
# model's share. Then what the metrics cost over 100,000 and over a million objects with a spec-z, how soon a watch commits, and
# what a slow worker costs.
# Usage: scripts/bench.sh HUBBLEFLOW [GALAXIES]
set -euo pipefail
hubbleflow=$1
galaxies=${2:-20000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command and prints what it took, then its output.
measure() {
    python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
wall, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
if done.returncode:
    sys.exit(done.stderr)
print(f"wall {wall:.1f} s, user {used.ru_utime:.1f} s, system {used.ru_stime:.1f} s, "
      f"peak {used.ru_maxrss / 1000:.0f} MB; {done.stdout.strip()}")
PYTHON
}

grep -m1 "model name" /proc/cpuinfo || uname -m
echo "cores: $(nproc), galaxies: $galaxies"
took=$(measure "$hubbleflow" sample "$work/catalog-64" --galaxies "$galaxies" --px 64 --drops 1)
echo "sample of 64x64x5: $took"
rm -rf "$work/catalog-64"
"$hubbleflow" sample "$work/catalog" --galaxies "$galaxies" --px 32 --drops 1 >/dev/null
"$hubbleflow" model init "$work/model" >/dev/null

"$hubbleflow" bench model "$work/model"
"$hubbleflow" bench read "$work/catalog"
"$hubbleflow" bench exchange
for threads in 1 2; do
    for run in 1 2 3; do
        echo "run $run of 32x32x5, threads $threads"
        "$hubbleflow" bench run "$work/catalog" --model "$work/model" --threads "$threads" 2>/dev/null
    done
done

for objects in 100000 1000000; do
    "$(dirname "$hubbleflow")/examples/metrics" make "$work/metrics-$objects" "$objects"
    echo "metrics: $("$(dirname "$hubbleflow")/examples/metrics" run "$work/metrics-$objects")"
done

"$(dirname "$0")/bench-watch.py" "$hubbleflow"
"$(dirname "$0")/bench-slow-worker.py" "$hubbleflow"
