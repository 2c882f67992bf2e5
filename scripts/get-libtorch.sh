#!/usr/bin/env bash
# Puts libtorch 2.11.0 where the build looks for it: .libtorch in the project's root.
#
# The libraries and headers come out of PyTorch's wheel on PyPI (no Python is needed to run them), are
# checked against the SHA-256 below, and are kept once for each user in
#   ${XDG_CACHE_HOME:-$HOME/.cache}/hubbleflow/libtorch-2.11.0-cuda-headers-<platform>
# to which .libtorch is a link; a second checkout downloads nothing. Without a network, put the wheels
# named in the error message into the folder named there.
#
# Needs bash, coreutils and python3 with pip. Run on Linux x86-64; for Linux aarch64 and macOS arm64 the
# wheels' contents were read, but nothing was built with them.
set -euo pipefail

version=2.11.0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hubbleflow

fail() {
    printf 'get-libtorch: %s\n' "$@" >&2
    exit 1
}

say() {
    printf 'libtorch %s: %s\n' "$version" "$*" >&2
}

# The wheels of this platform: requirements with checksums, the tags to ask pip for, the libraries to
# take. libtorch_cpu of a Linux wheel is linked with CUDA's profiler and runtime, GPU or not; CUDA's
# headers are what models/src/cuda/shim.cpp is compiled with.
choose_platform() {
    platform=$(uname -s)-$(uname -m)
    case $platform in
        Linux-x86_64)
            tags=(manylinux_2_28_x86_64 manylinux_2_25_x86_64 manylinux2014_x86_64)
            libraries=(libtorch.so libtorch_cpu.so libc10.so libgomp.so.1 libcupti.so.13 libcudart.so.13)
            size='544 MB'
            wheels="torch==$version --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4"
            ;;
        Linux-aarch64)
            tags=(manylinux_2_28_aarch64 manylinux_2_25_aarch64 manylinux2014_aarch64)
            libraries=(libtorch.so libtorch_cpu.so libc10.so libgomp.so.1 libcupti.so.13 libcudart.so.13
                libarm_compute.so libarm_compute_graph.so libgfortran.so.5
                libnvpl_blas_core.so.0 libnvpl_blas_lp64_gomp.so.0
                libnvpl_lapack_core.so.0 libnvpl_lapack_lp64_gomp.so.0)
            size='432 MB'
            wheels="torch==$version --hash=sha256:d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6
nvidia-cuda-cupti==13.0.85 --hash=sha256:796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
nvidia-cuda-runtime==13.0.96 --hash=sha256:ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-crt==13.0.88 --hash=sha256:ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003"
            ;;
        Darwin-arm64)
            tags=(macosx_11_0_arm64)
            libraries=(libtorch.dylib libtorch_cpu.dylib libc10.dylib libomp.dylib)
            size='81 MB'
            wheels="torch==$version --hash=sha256:7b6a60d48062809f58595509c524b88e6ddec3ebe25833d6462eeab81e5f2ce4"
            ;;
        *)
            fail "there is no wheel of torch $version for $platform" \
                "put a libtorch $version of your own (lib/ and include/) at $root/.libtorch"
            ;;
    esac
}

# Downloads into the folder $1, from the folder of wheels put there by hand if they are all in it.
download() {
    local into=$1 by_hand=$cache/wheels tag
    local pip=(python3 -m pip --disable-pip-version-check download --no-cache-dir --no-deps
        --only-binary=:all: --require-hashes --python-version 3.11 --implementation cp --abi cp311
        --requirement "$into/wheels.txt" --dest "$into")
    for tag in "${tags[@]}"; do
        pip+=(--platform "$tag")
    done
    printf '%s\n' "$wheels" >"$into/wheels.txt"
    python3 -m pip --version >/dev/null 2>&1 ||
        fail 'python3 with pip is needed (Debian: apt install python3-pip; or https://pip.pypa.io)'

    if compgen -G "$by_hand/*.whl" >/dev/null; then
        say "checking the wheels in $by_hand"
        "${pip[@]}" --quiet --no-index --find-links "$by_hand" >&2 && return
        say "the wheels in $by_hand will not do, see above; trying PyPI"
    fi
    say "downloading $size from PyPI, once for this user"
    "${pip[@]}" --progress-bar on --retries 2 --timeout 30 >&2 ||
        fail "could not download these wheels from PyPI (pip's own words are above):" \
            "$(sed 's/ --hash.*//; s/^/  /' "$into/wheels.txt")" \
            'connect to the network and run this again; or, on a machine that is connected, run' \
            "  python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 ${tags[*]/#/--platform } $(sed 's/ --hash.*//' "$into/wheels.txt" | paste -sd' ' -)" \
            "and copy the wheels to $by_hand"
}

# Takes lib/ and include/ out of the wheels in the folder $1, into $1/libtorch.
unpack() {
    say 'unpacking'
    python3 - "$1" "$version" "${libraries[@]}" <<'PYTHON'
import pathlib, shutil, sys, zipfile

folder, version, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], set(sys.argv[3:])
out = folder / "libtorch"
for wheel in sorted(folder.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = pathlib.PurePosixPath(name)
            if path.parent.name == "lib" and path.name in wanted:
                target = out / "lib" / path.name
                wanted.remove(path.name)
            elif path.parts[:2] == ("torch", "include") and not name.endswith("/"):
                target = out.joinpath(*path.parts[1:])
            elif path.parts[:3] == ("nvidia", "cu13", "include") and not name.endswith("/"):
                target = out.joinpath(*path.parts[2:])
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
if wanted:
    sys.exit(f"get-libtorch: the wheels do not hold {' '.join(sorted(wanted))}")
(out / "build-version").write_text(version + "\n")
PYTHON
}

# Moves $1 to $2 in one step; where another run was first, its result stays.
publish() {
    python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$1" "$2" 2>/dev/null || [[ -d $2 ]] ||
        fail "cannot move the unpacked libtorch to $2"
}

# Makes .libtorch a link to $1, in one step.
link() {
    local here=$root/.libtorch
    if [[ -e $here && ! -L $here ]]; then
        fail "$here is not a link of this script's making: move it away, or build with it as it is"
    fi
    [[ -L $here && $(readlink "$here") == "$1" ]] || ln -sfn "$1" "$here"
}

main() {
    choose_platform
    local home=$cache/libtorch-$version-cuda-headers-$platform
    if [[ ! -d $home ]]; then
        mkdir -p "$cache"
        # Not local: the trap runs when main is over.
        work=$(mktemp -d "$cache/.unfinished-XXXXXX")
        trap 'rm -rf "$work"' EXIT
        download "$work"
        unpack "$work"
        publish "$work/libtorch" "$home"
        say "kept in $home ($(du -sh "$home" | cut -f1))"
    fi
    link "$home"
}

main
