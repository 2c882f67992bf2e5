#!/usr/bin/env bash
# The steps that build a container, for the Dockerfile and the Apptainer definition alike. Both start from Debian 12.
#   build.sh tools                      installs what the build needs beside Rust
#   build.sh program                    builds the program
#   build.sh install PREFIX cpu|cuda    copies the program, libtorch and the bundled model to PREFIX; with cuda PyTorch's
#                                       libraries for GPUs too, some GB
#   build.sh runtime                    installs what the program needs at run time (in the final stage)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

usage() {
    sed -n '3,7s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

debian_packages() {
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/*
}

# Puts PyTorch's libraries into the folder $1. They open each other by relative paths, so they stay in their folders.
cuda_libraries() {
    local version
    version=$(<.libtorch/build-version)
    python3 -m venv "$1.venv"
    "$1.venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --target "$1" "torch==$version"
    rm -rf "$1.venv"
    # Triton compiles kernels for Python.
    rm -rf "$1/triton"
    find "$1" -type f ! -name '*.so*' -delete
    find "$1" -type d -empty -delete
}

case ${1:-} in
    tools)
        debian_packages g++ make python3 python3-pip python3-venv
        ;;
    program)
        scripts/get-libtorch.sh
        cargo build --release --locked --workspace --bin hubbleflow
        ;;
    install)
        [[ $# == 3 && $3 =~ ^(cpu|cuda)$ ]] || usage
        # --old-file: by itself `make install` builds the tests and the examples too.
        make --old-file=build install PREFIX="$2"
        strip --strip-debug "$2/bin/hubbleflow"
        [[ $3 == cpu ]] || cuda_libraries "$2/lib/hubbleflow/cuda"
        ;;
    runtime)
        debian_packages ca-certificates libstdc++6
        ;;
    *)
        usage
        ;;
esac
