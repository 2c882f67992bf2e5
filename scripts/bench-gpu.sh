#!/usr/bin/env bash
# Times the model and whole runs on a GPU, on a machine that has PyTorch 2.11 with CUDA and needs nothing else: no cargo, no
# network. Carry the program, the folder of the model and this script there; the survey is made there, on local disk.
# (A program without its debug information is a third as large: strip.)
# Usage: scripts/bench-gpu.sh HUBBLEFLOW MODEL [GALAXIES [DEVICE]]
# CAI's survey has 659857 galaxies; they take 11 GB of disk, and minutes to render.
# With DEVICE cpu it goes through the same steps where no GPU is.
set -euo pipefail
hubbleflow=$1
model=$2
galaxies=${3:-200000}
device=${4:-cuda}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
export LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# What share of the time a kernel runs, sampled while the command does.
busy() {
    if [[ $device == cpu ]]; then
        "$@"
        return
    fi
    nvidia-smi --id=0 --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits --loop-ms=100 >"$work/busy" &
    local sampler=$! ended=0
    "$@" || ended=$?
    kill "$sampler" 2>/dev/null || true
    wait "$sampler" 2>/dev/null || true
    awk -F', ' '{ share[NR] = $1 } $1 > 0 { if (!first) first = NR; last = NR } $2 > most { most = $2 }
        END { for (n = first; first && n <= last; n++) busy += share[n]
              if (first) printf "GPU: idle %.0f%% of the time between its first and its last work, %d MB\n", 100 - busy / (last - first + 1), most }' "$work/busy"
    return $ended
}

[[ $device == cpu ]] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
"$hubbleflow" --version
for precision in fp32 bf16; do
    "$hubbleflow" model check "$model" --device "$device" --precision "$precision"
    for threads in 1 2 3 6; do
        "$hubbleflow" bench model "$model" --device "$device" --precision "$precision" --threads "$threads"
    done
done

began=$SECONDS
"$hubbleflow" sample "$work/catalog" --galaxies "$galaxies" --px 32 --drops 1 >/dev/null
echo "$galaxies galaxies rendered in $((SECONDS - began)) s: $(du -sh "$work/catalog" | cut -f1)"
"$hubbleflow" bench read "$work/catalog" --memory 4GB
for threads in 3 6; do
    echo "a run, $threads threads:"
    busy "$hubbleflow" run "$work/catalog" --out "$work/out-$threads" --model "$model" --device "$device" --memory 8GB --threads "$threads"
done
"$hubbleflow" bench run "$work/catalog" --model "$model" --device "$device" --memory 16GB --threads 6 --bytes 20GB
