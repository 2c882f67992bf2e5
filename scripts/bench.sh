#!/usr/bin/env bash
# Times the whole job, cold, on this machine: 20,000 rendered galaxies on local disk, AstroMAE with initial weights.
# Prints the machine, then for one worker and for two: wall and CPU seconds, peak memory, and what the run says of itself.
# Then what the metrics cost over 100,000 and over a million objects with a spec-z.
# Usage: scripts/bench.sh HUBBLEFLOW [GALAXIES]
set -euo pipefail
hubbleflow=$1
galaxies=${2:-20000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -m1 'model name' /proc/cpuinfo || uname -m
echo "cores: $(nproc), galaxies: $galaxies of 32x32x5"
"$hubbleflow" sample "$work/catalog" --galaxies "$galaxies" --px 32 --drops 1 >/dev/null
"$hubbleflow" model init "$work/model" >/dev/null

for threads in 1 2; do
    for run in 1 2 3; do
        rm -rf "$work/out"
        TIMEFORMAT='%R %U %S'
        { time "$hubbleflow" run "$work/catalog" --out "$work/out" --model "$work/model" \
            --threads "$threads" --json >"$work/json" 2>/dev/null; } 2>"$work/time"
        read -r wall user system <"$work/time"
        echo "threads $threads, run $run: wall $wall s, user $user s, system $system s; $(cat "$work/json")"
    done
done

for objects in 100000 1000000; do
    "$(dirname "$hubbleflow")/examples/metrics" make "$work/metrics-$objects" "$objects"
    echo "metrics: $("$(dirname "$hubbleflow")/examples/metrics" run "$work/metrics-$objects")"
done
