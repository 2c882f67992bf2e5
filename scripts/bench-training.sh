#!/usr/bin/env bash
# Rows a second that the whole AstroMAE is trained with, forward and backward, beside the same network in PyTorch, in turns.
# Usage: scripts/bench-training.sh HUBBLEFLOW PYTHON-WITH-TORCH
set -euo pipefail
hubbleflow=$1
python=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -m1 "model name" /proc/cpuinfo || uname -m
echo "cores: $(nproc)"
"$hubbleflow" sample "$work/catalog" --galaxies 2700 --px 32 --drops 1 >/dev/null
precisions="fp32"
# bfloat16 is timed where this processor multiplies it.
grep -q avx512_bf16 /proc/cpuinfo && precisions="fp32 bf16"
for precision in $precisions; do
    for run in 1 2 3; do
        rm -rf "$work/model"
        ours=$("$hubbleflow" train finetune "$work/catalog" --out "$work/model" --precision "$precision" --epochs 1 --head point \
            --training 0:0.9 --validation 0.9:0.92 --test 1:1 2>/dev/null |
            "$python" -c 'import json, sys; print(round(json.load(sys.stdin)["rows_per_second"], 1))')
        theirs=$("$python" models/tests/reference/speed.py "$precision")
        echo "training, $precision, $run: $ours rows a second here, $theirs in PyTorch"
    done
done
