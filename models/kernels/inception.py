"""Triton kernels of the Inception network. Activations are bfloat16, one row a pixel: `[batch * y * x, channel]`.

A program computes small blocks of neighbouring pixels, so that one load serves several of them. The sums of a pixel
have one order, whatever the tile or the batch it is in. Sides may be odd.

| kernel | programs |
|---|---|
| `stem` | `(px / 2)^2 / BLOCK`, rounded up, by `batch` |
| `inception_first` | `batch * (side / 2)^2 / BLOCK`, each quotient here rounded up |
| `inception_second` | `batch * side / 2 * side / 4 / BLOCK` if there are four branches, and then `batch * (side / 2)^2 / (2 BLOCK)` |
"""

import triton
import triton.language as tl

from functions import asinh


@triton.jit
def stem(
    x, dereddening, slope, factor, w, b, y, bands, px,
    IS_SCALED: tl.constexpr, OUT: tl.constexpr, ASM: tl.constexpr, BLOCK: tl.constexpr,
):
    """The mean of 2x2 pixels of cutouts, then a convolution of one pixel; `BLOCK` pixels of the output a program.

    `x`: `[batch, band, px, px]`. `dereddening`: `[batch, band]`, which the bands are multiplied with. With `IS_SCALED`,
    pixels are scaled to `asinh(slope x) factor` before the mean; `slope`, `factor`: `[band]`. `w`: `[band, OUT]`. `b`:
    `[OUT]`. `y`: `[batch * px/2 * px/2, OUT]` of bfloat16; all others are of float32.
    """
    galaxy = tl.program_id(1)
    side = px // 2
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Two neighbours in a row of the cutout for each output pixel.
    half = tl.arange(0, 2 * BLOCK)
    of = tl.program_id(0) * BLOCK + half // 2
    inside = of < side * side
    at = of // side * 2 * px + of % side * 2 + half % 2
    column = tl.arange(0, OUT)
    total = tl.zeros((BLOCK, OUT), tl.float32) + tl.load(b + column)[None, :]
    band = 0
    while band < bands:  # The interpreter has no `range` of a tensor with NumPy 2.4.
        plane = x + (galaxy * bands + band) * px * px + at
        above = tl.load(plane, inside, other=0.0)
        below = tl.load(plane + px, inside, other=0.0)
        inner, outer = tl.load(dereddening + galaxy * bands + band), 0.25
        if IS_SCALED:
            inner *= tl.load(slope + band)
            outer *= tl.load(factor + band)
            both = asinh(above * inner, ASM) + asinh(below * inner, ASM)
        else:
            both = (above + below) * inner
        mean = tl.sum(tl.reshape(both, (BLOCK, 2)), 1) * outer
        total += mean[:, None] * tl.load(w + band * OUT + column)[None, :]
        band += 1
    place = (galaxy * side * side + pixel)[:, None] * OUT + column[None, :]
    tl.store(y + place, total.to(tl.bfloat16), (pixel < side * side)[:, None])


@triton.jit
def inception_first(
    x, w, b, y, t, batch, side,
    CHANNELS: tl.constexpr, EACH: tl.constexpr, BRANCHES: tl.constexpr, POOL: tl.constexpr, ASM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The 1x1 convolutions of a block's input and of its 3x3 maximum, `BLOCK` blocks of 2x2 pixels a program.

    `x`: `[rows, CHANNELS]`. `w`: `[2, CHANNELS, 4 * EACH]` bfloat16, for `x` and for the maximum, in the columns
    of their outputs and zero elsewhere. `b`: `[4 * EACH]` float32. Columns of outputs: first branch, second, third if
    `BRANCHES` is 4, maximum, padding. `y`: `[rows, BRANCHES * EACH]` gets the first and the last, at the same
    columns; `t`: `[BRANCHES - 2, rows, EACH]` the others. With `POOL`, `y` has the means of 2x2 pixels instead:
    `[batch * side/2 * side/2, BRANCHES * EACH]`. `ASM`: see `larger`.
    """
    block = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    blocks = (side + 1) // 2
    left = block % blocks * 2
    top = block // blocks % blocks * 2
    galaxy = block // (blocks * blocks)
    row = (galaxy * side + top) * side + left
    there = galaxy < batch
    channel = tl.arange(0, CHANNELS)
    column = tl.arange(0, 4 * EACH)
    weight = channel[:, None] * (4 * EACH) + column[None, :]
    of_x = tl.load(w + weight)
    of_maximum = tl.load(w + CHANNELS * 4 * EACH + weight)
    bias = tl.load(b + column)[None, :]

    right = there & (left + 1 < side)
    below = there & (top + 1 < side)
    rows = batch * side * side
    _, _, left0, right0 = picture_row(x, row, top, left, -1, side, there, CHANNELS, ASM)
    x00, x01, left1, right1 = picture_row(x, row, top, left, 0, side, there, CHANNELS, ASM)
    x10, x11, left2, right2 = picture_row(x, row, top, left, 1, side, there, CHANNELS, ASM)
    left1 = larger(left1, left2, ASM)
    right1 = larger(right1, right2, ASM)
    y00 = two_products(x00, larger(left0, left1, ASM), of_x, of_maximum, bias)
    store_first(y00, y, t, row, there, rows, EACH, BRANCHES, POOL)
    y01 = two_products(x01, larger(right0, right1, ASM), of_x, of_maximum, bias)
    store_first(y01, y, t, row + 1, right, rows, EACH, BRANCHES, POOL)
    _, _, left3, right3 = picture_row(x, row, top, left, 2, side, there, CHANNELS, ASM)
    y10 = two_products(x10, larger(left1, left3, ASM), of_x, of_maximum, bias)
    store_first(y10, y, t, row + side, below, rows, EACH, BRANCHES, POOL)
    y11 = two_products(x11, larger(right1, right3, ASM), of_x, of_maximum, bias)
    store_first(y11, y, t, row + side + 1, right & below, rows, EACH, BRANCHES, POOL)
    if POOL:
        mean = (y00.to(tl.float32) + y01.to(tl.float32) + y10.to(tl.float32) + y11.to(tl.float32)) * 0.25
        half = side // 2
        row = (galaxy * half + top // 2) * half + left // 2
        kept = right & below
        place = row[:, None] * (BRANCHES * EACH) + column[None, :]
        tl.store(y + place, mean.to(tl.bfloat16), kept[:, None] & in_y(column, EACH, BRANCHES)[None, :])


@triton.jit
def picture_row(x, row, top, left, dy, side, there, CHANNELS: tl.constexpr, ASM: tl.constexpr):
    """The pixels of the columns `left` and `left + 1` in the row `top + dy`, then the maximum over each of them and its
    neighbours to the left and the right: four of `[BLOCK, CHANNELS]`, minus infinity beyond the edge."""
    place = x + (row + dy * side)[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = there & (top + dy >= 0) & (top + dy < side)
    lowest = float("-inf")
    pixel0 = tl.load(place - CHANNELS, (inside & (left > 0))[:, None], other=lowest)
    pixel1 = tl.load(place, inside[:, None], other=lowest)
    pixel2 = tl.load(place + CHANNELS, (inside & (left + 1 < side))[:, None], other=lowest)
    pixel3 = tl.load(place + 2 * CHANNELS, (inside & (left + 2 < side))[:, None], other=lowest)
    both = larger(pixel1, pixel2, ASM)
    return pixel1, pixel2, larger(pixel0, both, ASM), larger(both, pixel3, ASM)


@triton.jit
def larger(a, b, ASM: tl.constexpr):
    """The larger of each two numbers of bfloat16, NaN if either is; with `ASM` two an instruction, which the interpreter
    lacks."""
    if ASM:
        return tl.inline_asm_elementwise(
            "max.NaN.bf16x2 $0, $1, $2;", "=r,r,r", [a, b], dtype=tl.bfloat16, is_pure=True, pack=2
        )
    else:
        wider = tl.maximum(a.to(tl.float32), b.to(tl.float32), propagate_nan=tl.PropagateNan.ALL)
        return wider.to(tl.bfloat16)


@triton.jit
def two_products(x, maximum, of_x, of_maximum, bias):
    """`relu(x of_x + maximum of_maximum + bias)`, bfloat16."""
    total = tl.dot(maximum, of_maximum, tl.dot(x, of_x))
    return relu(total + bias)


@triton.jit
def relu(x):
    """`max(x, 0)`, float32 to bfloat16."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL).to(tl.bfloat16)


@triton.jit
def in_y(column, EACH: tl.constexpr, BRANCHES: tl.constexpr):
    """Whether a column of `inception_first` belongs to `y`."""
    last = (column >= (BRANCHES - 1) * EACH) & (column < BRANCHES * EACH)
    return (column < EACH) | last


@triton.jit
def store_first(
    values, y, t, row, there, rows, EACH: tl.constexpr, BRANCHES: tl.constexpr, POOL: tl.constexpr
):
    """Writes the columns of a pixel, `values` `[BLOCK, 4 * EACH]`, to `t` and, without `POOL`, to `y`."""
    column = tl.arange(0, 4 * EACH)
    to_t = (column >= EACH) & (column < (BRANCHES - 1) * EACH)
    place = (column // EACH - 1) * rows * EACH + column % EACH
    tl.store(t + row[:, None] * EACH + place[None, :], values, there[:, None] & to_t[None, :])
    if not POOL:
        place = row[:, None] * (BRANCHES * EACH) + column[None, :]
        tl.store(y + place, values, there[:, None] & in_y(column, EACH, BRANCHES)[None, :])


@triton.jit
def inception_second(
    t, w3, b3, w5, b5, y, batch, side,
    EACH: tl.constexpr, BRANCHES: tl.constexpr, POOL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The 3x3 convolution of `t[0]` and the 5x5 convolution of `t[1]`, each in programs of its own, the longer ones first.

    `t`: `[BRANCHES - 2, rows, EACH]`. `y`: `[rows, BRANCHES * EACH]`, of which it writes the columns from `EACH` to
    `(BRANCHES - 1) * EACH`; with `POOL` `[batch * side/2 * side/2, BRANCHES * EACH]`. `w3`, `w5`: as `conv_weight` makes
    them. `b3`, `b5`: `[EACH]` float32. `w5` and `b5` are not read if `BRANCHES` is 3.
    """
    program = tl.program_id(0)
    if BRANCHES == 4:
        programs = tl.cdiv(batch * tl.cdiv(side, 2) * tl.cdiv(side, 4), BLOCK)
        if program < programs:
            third = t + batch * side * side * EACH
            convolve(third, w5, b5, y + 2 * EACH, program, batch, side, 5, EACH, BRANCHES * EACH, POOL, BLOCK)
        else:
            convolve(t, w3, b3, y + EACH, program - programs, batch, side, 3, EACH, BRANCHES * EACH, POOL, 2 * BLOCK)
    else:
        convolve(t, w3, b3, y + EACH, program, batch, side, 3, EACH, BRANCHES * EACH, POOL, 2 * BLOCK)


@triton.jit
def convolve(
    t, w, b, y, program, batch, side,
    SIZE: tl.constexpr, EACH: tl.constexpr, STRIDE: tl.constexpr, POOL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A convolution of `SIZE` by `SIZE` and a ReLU, `BLOCK` blocks of 2 by `SIZE - 1` pixels (y by x).

    The pixels of a row that such a block needs, `2 * (SIZE - 1)`, lie side by side in memory: one product with a
    weight of `[2 * (SIZE - 1) * EACH, (SIZE - 1) * EACH]` adds all that they give to the pixels of an output row.
    """
    WIDE: tl.constexpr = SIZE - 1
    MARGIN: tl.constexpr = SIZE // 2
    INNER: tl.constexpr = 2 * WIDE * EACH
    OUTER: tl.constexpr = WIDE * EACH
    block = program * BLOCK + tl.arange(0, BLOCK)
    across = tl.cdiv(side, WIDE)
    down = tl.cdiv(side, 2)
    left = block % across * WIDE
    top = block // across % down * 2
    galaxy = block // (across * down)
    there = galaxy < batch
    row = (galaxy * side + top) * side + left

    inner = tl.arange(0, INNER)
    outer = tl.arange(0, OUTER)
    at = left[:, None] - MARGIN + inner[None, :] // EACH
    inside = there[:, None] & (at >= 0) & (at < side)
    place = t + (row - MARGIN * (side + 1))[:, None] * EACH + inner[None, :]
    weight = w + inner[:, None] * OUTER + outer[None, :]
    upper = tl.zeros((BLOCK, OUTER), tl.float32)
    lower = tl.zeros((BLOCK, OUTER), tl.float32)
    of_row = tl.load(weight)
    for n in tl.static_range(SIZE + 1):
        y_in = top - MARGIN + n
        pixels = tl.load(place + n * side * EACH, inside & ((y_in >= 0) & (y_in < side))[:, None], other=0.0)
        if n > 0:
            lower = tl.dot(pixels, of_row, lower)
        if n < SIZE:
            if n > 0:
                of_row = tl.load(weight + n * INNER * OUTER)
            upper = tl.dot(pixels, of_row, upper)

    bias = tl.load(b + outer % EACH)[None, :]
    upper = relu(upper + bias)
    lower = relu(lower + bias)
    if POOL:
        both = tl.reshape(upper.to(tl.float32) + lower.to(tl.float32), (BLOCK, WIDE // 2, 2, EACH))
        mean = tl.reshape(tl.sum(both, 2) * 0.25, (BLOCK, OUTER // 2)).to(tl.bfloat16)
        half = side // 2
        outer = tl.arange(0, OUTER // 2)
        to = left[:, None] // 2 + outer[None, :] // EACH
        row = (galaxy * half + top // 2) * half
        place = (row[:, None] + to) * STRIDE + outer[None, :] % EACH
        tl.store(y + place, mean, (there & (top // 2 < half))[:, None] & (to < half))
    else:
        to = outer[None, :] // EACH
        place = y + (row[:, None] + to) * STRIDE + outer[None, :] % EACH
        kept = there[:, None] & (left[:, None] + to < side)
        tl.store(place, upper, kept)
        tl.store(place + side * STRIDE, lower, kept & (top + 1 < side)[:, None])
