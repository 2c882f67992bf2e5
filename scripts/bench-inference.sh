#!/usr/bin/env bash
# Galaxies a CPU second that the model alone predicts on one thread, beside the same network in PyTorch (eager, float32),
# in turns. CPU seconds: what other programs take does not count, though they share caches and memory.
# Usage: scripts/bench-inference.sh HUBBLEFLOW PYTHON-WITH-TORCH
set -euo pipefail
hubbleflow=$1
python=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$hubbleflow" model init "$work/model" >/dev/null

here() {
    "$hubbleflow" bench model "$work/model" --precision "$1" --batch "$2" --json |
        "$python" -c 'import json, sys; print(round(json.load(sys.stdin)["galaxies_per_cpu_second"], 1))'
}

"$hubbleflow" bench model "$work/model" --seconds 1 | sed -n "/^machine/p"
precisions="fp32"
# bfloat16 is timed where this processor multiplies it.
grep -q avx512_bf16 /proc/cpuinfo && precisions="fp32 bf16"
printf '%-6s %-9s %6s %14s %14s %6s\n' round precision batch "eager PyTorch" hubbleflow ratio
for round in 1 2 3; do
    for batch in 128 512; do
        eager=$("$python" models/tests/reference/inference.py "$batch")
        for precision in $precisions; do
            ours=$(here "$precision" "$batch")
            ratio=$("$python" -c "print(f'{$ours / $eager:.2f}')")
            printf '%-6s %-9s %6s %14s %14s %6s\n' "$round" "$precision" "$batch" "$eager" "$ours" "$ratio"
        done
    done
done
