"""What the checks of the kernels share: launches with the constants of `compile.py`, in Triton's interpreter or on a GPU."""

import torch
import triton

from compile import kernels

INTERPRETED = triton.knobs.runtime.interpret
DEVICE = "cpu" if INTERPRETED else "cuda"
# The kernels for Hopper need more shared memory than other GPUs have.
TARGETS = ["any_gpu", "hopper"] if INTERPRETED or torch.cuda.get_device_capability() == (9, 0) else ["any_gpu"]
KERNELS = {(target, name): settings for target in TARGETS for name, *settings in kernels(target)}
# Rows after the last one of an output, which no kernel may write, and their content. A NaN would hide that a NaN is written.
ROWS_BEYOND, BEYOND = 64, 4096.0


def launch(target, name, grid, *arguments):
    """Launches a kernel. `grid` returns the number of programs for the rows, pixels or blocks of pixels of a program."""
    function, constants, warps, stages, block = KERNELS[target, name]
    asm = {"ASM": not INTERPRETED} if "ASM" in function.arg_names else {}
    function[grid(block)](*arguments, **constants, **asm, num_warps=warps, num_stages=stages)


def normal(*shape, scale=1.0, kind=torch.float32):
    """Random numbers of a normal distribution around 0."""
    return (torch.randn(shape) * scale).to(DEVICE, kind)


def uniform(low, high, *shape):
    """Random numbers between two bounds."""
    return (torch.rand(shape) * (high - low) + low).to(DEVICE)


def poisoned(rows, channels, kind):
    """An output that is not written yet, of NaN, with rows beyond its end."""
    output = torch.full((rows + ROWS_BEYOND, channels), float("nan"), dtype=kind, device=DEVICE)
    output[rows:] = BEYOND
    return output


def written(output):
    """The rows of a poisoned output, if those beyond its end are as they were."""
    assert (output[-ROWS_BEYOND:] == BEYOND).all(), "written beyond the end"
    return output[:-ROWS_BEYOND]


def check(name, found, expected, bound):
    """Prints and bounds the largest error, relative to one more than the expected number. A NaN is an error too."""
    error = ((found.double() - expected).abs() / (1 + expected.abs())).max().item()
    print(f"{name}: largest error {error:.1e}", flush=True)
    assert error < bound, f"{name}: not below {bound:.1e}"
