"""Triton kernels of the encoder. Activations are bfloat16, one row a token: row `token * batch + galaxy`. Token 0 is the class token.

Sums and biases are float32. The sums of a row have one order, whatever the tile or the batch it is in. A program computes
`ROWS` rows and keeps them in its registers from one layer to the next. 192 channels are three parts of 64.

| kernel | programs |
|---|---|
| `embed`, `transform` | `rows_all / ROWS`, rounded up |
| `attend` | `batch` by `heads` |
"""

import triton
import triton.language as tl

from functions import asinh, gelu, silu

CHUNK = tl.constexpr(64)
WIDTH = tl.constexpr(192)


@triton.jit
def places(x, rows, channels: tl.constexpr, first):
    """Where 64 channels of rows are, from channel `first` on."""
    return x + rows[:, None] * channels + (tl.arange(0, CHUNK) + first)[None, :]


@triton.jit
def bias_of(bias, first, COUNT: tl.constexpr):
    """`COUNT` numbers of a bias, as a row."""
    return tl.load(bias + first + tl.arange(0, COUNT))[None, :]


@triton.jit
def normalised(x0, x1, x2, kind: tl.constexpr):
    """Rows of 192 channels, shifted and scaled to mean 0 and variance 1."""
    mean = (tl.sum(x0, 1) + tl.sum(x1, 1) + tl.sum(x2, 1))[:, None] / WIDTH
    x0 -= mean
    x1 -= mean
    x2 -= mean
    variance = (tl.sum(x0 * x0, 1) + tl.sum(x1 * x1, 1) + tl.sum(x2 * x2, 1))[:, None] / WIDTH
    factor = tl.rsqrt(variance + 1e-6)
    return (x0 * factor).to(kind), (x1 * factor).to(kind), (x2 * factor).to(kind)


@triton.jit
def from_width(n0, n1, n2, weight, first, COUNT: tl.constexpr):
    """`COUNT` outputs of a layer of 192 inputs, without its bias."""
    at = weight + (tl.arange(0, COUNT) + first)[None, :] * WIDTH + tl.arange(0, CHUNK)[:, None]
    sums = tl.dot(n0, tl.load(at))
    sums = tl.dot(n1, tl.load(at + CHUNK), sums)
    return tl.dot(n2, tl.load(at + 2 * CHUNK), sums)


@triton.jit
def write(x, x0, x1, x2, rows, is_row, kind: tl.constexpr):
    """Writes rows of 192 channels."""
    tl.store(places(x, rows, WIDTH, 0), x0.to(kind), is_row[:, None])
    tl.store(places(x, rows, WIDTH, CHUNK), x1.to(kind), is_row[:, None])
    tl.store(places(x, rows, WIDTH, 2 * CHUNK), x2.to(kind), is_row[:, None])


@triton.jit
def write_qkv(x0, x1, x2, rows, is_row, weight, bias, y, kind: tl.constexpr, STAGES: tl.constexpr):
    """Writes queries, keys and values, `[rows, 576]`, of the normalised rows; weight `[576, 192]`."""
    n0, n1, n2 = normalised(x0, x1, x2, kind)
    for first in tl.range(0, 3 * WIDTH, CHUNK, num_stages=STAGES):
        sums = from_width(n0, n1, n2, weight, first, CHUNK) + bias_of(bias, first, CHUNK)
        tl.store(places(y, rows, 3 * WIDTH, first), sums.to(kind), is_row[:, None])


@triton.jit
def embed(
    cutouts, dereddening, slope, factor, weight, positions, qkv, qkv_bias, x, y, rows_all, batch, bands, grid,
    IS_SCALED: tl.constexpr, ASM: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
):
    """From cutouts, `[batch, band, y, x]` of float32, to the tokens and to the queries, keys and values of the first block.

    Each band is multiplied by `dereddening`, `[batch, band]`, and scaled to `asinh(slope flux) factor`. weight `[192, band * 64]`;
    positions `[token, 192]` of float32, to which the class token is added and the bias of patches.
    """
    kind = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = rows < rows_all
    token = tl.where(is_row, rows // batch, 0)
    galaxy = rows % batch
    is_patch = token > 0
    patch = token - 1
    side = grid * 8
    inputs = tl.arange(0, CHUNK)
    corner = (patch // grid) * 8 * side + (patch % grid) * 8
    pixels = cutouts + (galaxy * bands * side * side + corner)[:, None] + (inputs // 8 * side + inputs % 8)[None, :]
    x0 = tl.load(places(positions, token, WIDTH, 0))
    x1 = tl.load(places(positions, token, WIDTH, CHUNK))
    x2 = tl.load(places(positions, token, WIDTH, 2 * CHUNK))
    for band in range(bands):
        flux = tl.load(pixels + band * side * side, is_patch[:, None], 0.0)
        flux *= tl.load(dereddening + galaxy * bands + band, is_row, 0.0)[:, None]
        if IS_SCALED:
            flux = asinh(flux * tl.load(slope + band), ASM) * tl.load(factor + band)
        of_band = weight + inputs[None, :] * (bands * CHUNK) + (inputs + band * CHUNK)[:, None]
        x0 = tl.dot(flux.to(kind), tl.load(of_band), x0)
        x1 = tl.dot(flux.to(kind), tl.load(of_band + CHUNK * bands * CHUNK), x1)
        x2 = tl.dot(flux.to(kind), tl.load(of_band + 2 * CHUNK * bands * CHUNK), x2)
    write(x, x0, x1, x2, rows, is_row, kind)
    write_qkv(x0, x1, x2, rows, is_row, qkv, qkv_bias, y, kind, STAGES)


@triton.jit
def attend(qkv, y, batch, tokens, heads, TOKENS: tl.constexpr):
    """`softmax(q k^T) v` of a galaxy and a head of 64 channels: `[tokens * batch, 3 * width] -> [tokens * batch, width]`.

    Queries are divided by the root of the number of channels already. `TOKENS` is a power of two, `tokens` or above.
    """
    galaxy, head = tl.program_id(0), tl.program_id(1)
    width = heads * CHUNK
    token = tl.arange(0, TOKENS)
    rows = token * batch + galaxy
    is_token = token < tokens
    at = qkv + rows[:, None] * (3 * width) + (tl.arange(0, CHUNK) + head * CHUNK)[None, :]
    q = tl.load(at, is_token[:, None], 0.0)
    k = tl.load(at + width, is_token[:, None], 0.0)
    v = tl.load(at + 2 * width, is_token[:, None], 0.0)
    scores = tl.where(is_token[None, :], tl.dot(q, tl.trans(k)), -1e30)
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    mixed = tl.dot(weights.to(v.dtype), v) / tl.sum(weights, 1)[:, None]
    place = y + rows[:, None] * width + (tl.arange(0, CHUNK) + head * CHUNK)[None, :]
    tl.store(place, mixed.to(y.dtype.element_ty), is_token[:, None])


@triton.jit
def project(x, rows, is_row, is_patch, first, weight, bias, m0, m1, m2):
    """64 channels of `x`, plus what attention mixed, projected; bias `[2, 192]`, of the class token and of patches."""
    sums = tl.load(places(x, rows, WIDTH, first), is_row[:, None], 0.0).to(tl.float32)
    sums += tl.where(is_patch[:, None], bias_of(bias, first + WIDTH, CHUNK), bias_of(bias, first, CHUNK))
    return sums + from_width(m0, m1, m2, weight, first, CHUNK)


@triton.jit
def convolved(sums, x, rows, is_patch, chunk: tl.constexpr, widen, widen_bias, narrow, ASM: tl.constexpr):
    """Adds the PCM of 64 channels to patches: four parts of 16 channels and 64 hidden ones. For the weights see `transform`."""
    hidden_ones = tl.arange(0, CHUNK)
    inputs = tl.arange(0, 16)
    for part in range(4 * chunk, 4 * chunk + 4):
        channels = tl.load(x + rows[:, None] * WIDTH + (inputs + part * 16)[None, :], is_patch[:, None], 0.0)
        hidden = tl.dot(channels, tl.load(widen + part * (CHUNK * 16) + hidden_ones[None, :] * 16 + inputs[:, None]))
        hidden = tl.where(is_patch[:, None], silu(hidden + bias_of(widen_bias, part * CHUNK, CHUNK), ASM), 0.0)
        back = tl.load(narrow + (hidden_ones[None, :] + part * CHUNK) * CHUNK + hidden_ones[:, None])
        sums = tl.dot(hidden.to(back.dtype), back, sums)
    return sums


@triton.jit
def transform(
    x, mixed, proj, proj_bias, pcm_widen, pcm_widen_bias, pcm_narrow, fc1, fc1_bias, fc2, fc2_bias, qkv, qkv_bias, y, rows_all, batch,
    HIDDEN: tl.constexpr, HAS_PCM: tl.constexpr, HAS_NEXT: tl.constexpr, ASM: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr,
):
    """From the attention of a block to the queries, keys and values of the next.

    `x`, `[rows, 192]`, is changed in place: it gains the projection of `mixed`, its PCM, if there is one, and then its perceptron.
    `y`: `[rows, 576]`. proj `[192, 192]`, fc1 `[HIDDEN, 192]`, fc2 `[192, HIDDEN]`, qkv `[576, 192]`; proj_bias `[2, 192]`, of the class
    token and of patches. The PCM has 12 parts of 16 channels and 64 hidden ones: pcm_widen `[12, 64, 16]`, pcm_narrow `[12, 64, 64]`, of
    which the 16 outputs of the part are at their place among 64 channels, and the others 0.
    """
    kind = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = rows < rows_all
    is_patch = is_row & (rows >= batch)
    m0 = tl.load(places(mixed, rows, WIDTH, 0), is_row[:, None], 0.0)
    m1 = tl.load(places(mixed, rows, WIDTH, CHUNK), is_row[:, None], 0.0)
    m2 = tl.load(places(mixed, rows, WIDTH, 2 * CHUNK), is_row[:, None], 0.0)
    x0 = project(x, rows, is_row, is_patch, 0, proj, proj_bias, m0, m1, m2)
    x1 = project(x, rows, is_row, is_patch, CHUNK, proj, proj_bias, m0, m1, m2)
    x2 = project(x, rows, is_row, is_patch, 2 * CHUNK, proj, proj_bias, m0, m1, m2)
    if HAS_PCM:
        x0 = convolved(x0, x, rows, is_patch, 0, pcm_widen, pcm_widen_bias, pcm_narrow, ASM)
        x1 = convolved(x1, x, rows, is_patch, 1, pcm_widen, pcm_widen_bias, pcm_narrow, ASM)
        x2 = convolved(x2, x, rows, is_patch, 2, pcm_widen, pcm_widen_bias, pcm_narrow, ASM)
    n0, n1, n2 = normalised(x0, x1, x2, kind)
    x0 += bias_of(fc2_bias, 0, CHUNK)
    x1 += bias_of(fc2_bias, CHUNK, CHUNK)
    x2 += bias_of(fc2_bias, 2 * CHUNK, CHUNK)
    outputs = tl.arange(0, CHUNK)[None, :] * HIDDEN
    for first in tl.range(0, HIDDEN, COLUMNS, num_stages=STAGES):
        hidden = from_width(n0, n1, n2, fc1, first, COLUMNS) + bias_of(fc1_bias, first, COLUMNS)
        hidden = gelu(hidden, ASM).to(kind)
        back = fc2 + outputs + (tl.arange(0, COLUMNS) + first)[:, None]
        x0 = tl.dot(hidden, tl.load(back), x0)
        x1 = tl.dot(hidden, tl.load(back + CHUNK * HIDDEN), x1)
        x2 = tl.dot(hidden, tl.load(back + 2 * CHUNK * HIDDEN), x2)
    write(x, x0, x1, x2, rows, is_row, kind)
    if HAS_NEXT:
        write_qkv(x0, x1, x2, rows, is_row, qkv, qkv_bias, y, kind, STAGES)
