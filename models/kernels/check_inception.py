"""Compares the Inception kernels with plain torch: `python check_inception.py` on a GPU, or with `TRITON_INTERPRET=1` on a CPU."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
import triton
from triton.runtime import interpreter

from checks import DEVICE, INTERPRETED, TARGETS, check, launch, normal, poisoned, uniform, written

# The sets of kernels differ by nothing that matters here.
TARGET = TARGETS[0]
BATCH = 3
# Of each block: side at 32 px, input channels, channels of a branch, branches, and whether the mean of 2x2 pixels follows.
BLOCKS = [(16, 32, 16, 4, False), (16, 64, 16, 4, True), (8, 64, 8, 4, False), (8, 32, 8, 4, True), (4, 32, 4, 3, False)]
STEM_CHANNELS = 32
# Two roundings to bfloat16, by half a step of 2^-7 each at most. The interpreter rounds towards zero, by a step.
ROUNDING = 2**-6 if INTERPRETED else 2**-7


def dot(self, a, b, total, *_):
    """The product of the interpreter, which in Triton 3.6 multiplies the bits of bfloat16 as integers."""
    a, b = ((m.data.astype(np.uint32) << 16).view(np.float32) for m in (a, b))
    with np.errstate(invalid="ignore"):  # Minus infinity beyond an odd edge, in rows that are not stored.
        return interpreter.TensorHandle(a @ b + total.data, total.dtype.scalar)


interpreter.InterpreterBuilder.create_dot = dot


def rounded(x):
    return x.bfloat16().float()


def picture(x, side):
    """`[batch * y * x, channel] -> [batch, channel, y, x]`."""
    return x.view(-1, side, side, x.shape[1]).permute(0, 3, 1, 2)


def rows(x):
    """`[batch, channel, y, x] -> [batch * y * x, channel]`."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def stem(cutouts, dereddening, scale, weight, bias):
    """The output of `stem`. `scale` is slope and factor, or None."""
    batch, bands, px, _ = cutouts.shape
    pixels = (px // 2) ** 2
    y = poisoned(batch * pixels, STEM_CHANNELS, torch.bfloat16)
    grid = lambda block: (triton.cdiv(pixels, block), batch)
    name = "stem_scaled" if scale else "stem"
    launch(TARGET, name, grid, cutouts, dereddening, *(scale or [bias] * 2), weight, bias, y, bands, px)
    return written(y)


def plain_stem(cutouts, dereddening, scale, weight, bias):
    by_band = lambda numbers: numbers.double()[..., None, None]
    x = cutouts.double() * by_band(dereddening)
    if scale:
        slope, factor = map(by_band, scale)
        x = torch.asinh(x * slope) * factor
    return rows(F.avg_pool2d(x, 2)) @ weight.double() + bias.double()


def shifted(weight):
    """A convolution's weight, laid out as by `shifted` in models/src/fast/kernels/inception.rs.

    `[out, in, size, size] -> [size, 2 (size - 1) * in, (size - 1) * out]`.
    """
    out, inputs, size, _ = weight.shape
    wide = size - 1
    laid_out = weight.new_zeros(size, 2 * wide, inputs, wide, out)
    for output in range(wide):
        laid_out[:, output : output + size, :, output] = weight.permute(2, 3, 1, 0)
    return laid_out.view(size, 2 * wide * inputs, wide * out).bfloat16()


class Block:
    """The kernels of a block, number `number` in `BLOCKS`, with random weights and inputs."""

    def __init__(self, number, batch, side):
        _, channels, self.each, self.branches, self.pool = BLOCKS[number]
        self.number, self.side = number, side
        weight = lambda outputs, inputs, size: rounded(normal(outputs, inputs, size, size, scale=(inputs * size**2) ** -0.5))
        layer = lambda *shape: (weight(*shape), normal(shape[0]))
        self.first, self.pooled = layer((self.branches - 1) * self.each, channels, 1), layer(self.each, channels, 1)
        self.second = [layer(self.each, self.each, size) for size in (3, 5)[: self.branches - 2]]
        self.x = normal(batch * side * side, channels).bfloat16()

    def packed_first(self):
        """Weight and bias as `KernelBlock::new` in models/src/fast/kernels/inception.rs packs them."""
        (pooled, pooled_bias), (first, first_bias) = self.pooled, self.first
        weight, bias = pooled.new_zeros(2, pooled.shape[1], 4 * self.each), pooled.new_zeros(4 * self.each)
        for n, (start, layer, of_layer) in enumerate([(0, first, first_bias), (len(first), pooled, pooled_bias)]):
            columns = slice(start, start + len(layer))
            weight[n, :, columns] = layer[:, :, 0, 0].T
            bias[columns] = of_layer
        return weight.bfloat16(), bias

    def __call__(self, x):
        """`t` and `y` of these pixels."""
        side, branches, each = self.side, self.branches, self.each
        batch = len(x) // side**2
        side_out = side // 2 if self.pool else side
        y = poisoned(batch * side_out**2, branches * each, torch.bfloat16)
        t = poisoned((branches - 2) * len(x), each, torch.bfloat16)
        by = lambda step: triton.cdiv(side, step)
        squares = batch * by(2) ** 2
        grid = lambda block: (triton.cdiv(squares, block),)
        launch(TARGET, f"inception_first_{self.number}", grid, x, *self.packed_first(), y, t, batch, side)
        of_3x3, of_5x5 = ((shifted(weight), bias) for weight, bias in (self.second[0], self.second[-1]))
        # A program has twice as many blocks of pixels for the 3x3 convolution.
        of_5 = batch * by(2) * by(4) if branches == 4 else 0
        grid = lambda block: (triton.cdiv(triton.cdiv(squares, 2), block) + triton.cdiv(of_5, block),)
        launch(TARGET, f"inception_second_{self.number}", grid, t, *of_3x3, *of_5x5, y, batch, side)
        return written(t).view(branches - 2, len(x), each), written(y)

    def plain(self, x, t):
        """`t` and `y`, float32 from bfloat16. The convolutions are of the kernels' own `t`, so that its rounding does not count."""
        conv = lambda x, layer: rounded(F.relu(rows(F.conv2d(x, *layer, padding="same"))))
        x = picture(x.float(), self.side)
        first = conv(x, self.first).split(self.each, 1)
        second = [conv(picture(of_branch.float(), self.side), layer) for of_branch, layer in zip(t, self.second)]
        y = torch.cat([first[0], *second, conv(F.max_pool2d(x, 3, 1, 1), self.pooled)], 1)
        return torch.stack(first[1:]), rounded(rows(F.avg_pool2d(picture(y, self.side), 2))) if self.pool else y


def check_stem():
    """Checks the stem at 32 and 64 px and an odd side, with pixels of many sizes."""
    for (bands, px), is_scaled in itertools.product([(5, 32), (3, 64), (16, 17)], (False, True)):
        cutouts = normal(BATCH, bands, px, px) * 10 ** uniform(-2, 2, BATCH, bands, px, px)
        scale = [uniform(0.5, 1.5, bands), uniform(0.5, 1.5, bands)] if is_scaled else None
        weight, bias = normal(bands, STEM_CHANNELS, scale=bands**-0.5), normal(STEM_CHANNELS)
        given = cutouts, uniform(1, 2, BATCH, bands), scale, weight, bias
        check(f"stem, {bands} bands, {px} px, scaled {is_scaled}", stem(*given), plain_stem(*given), ROUNDING)


def check_blocks():
    """Checks blocks at 32 and 64 px, and odd sides too."""
    for number, (side, *_) in enumerate(BLOCKS):
        for size in [side, 2 * side, side + 1, 3]:
            block = Block(number, BATCH, size)
            t, y = block(block.x)
            for output, *both in zip("ty", (t, y), block.plain(block.x, t)):
                check(f"block {number}, side {size}, {output}", *both, ROUNDING)


def check_tiles():
    """Checks that a galaxy has the same bits alone and in a batch, at another place in a tile."""
    for number, (side, *_) in enumerate(BLOCKS):
        side += 1  # Odd, so that galaxies do not begin where tiles do.
        block = Block(number, 4, side)
        of_galaxy = lambda y: y.unflatten(-2, (4, -1))[..., 2, :, :]
        for alone, of_all in zip(block(of_galaxy(block.x)), block(block.x)):
            assert torch.equal(alone, of_galaxy(of_all)), f"block {number}: other bits alone"
    print("blocks: the same bits alone and in a batch")


def check_asinh():
    """Checks the error of `asinh` by a stem that subtracts the expected number, so that bfloat16 hides no error."""
    sizes = torch.logspace(-8, 3, 4 * STEM_CHANNELS)
    small, large = [], []
    for flux in torch.cat([sizes, -sizes]).to(DEVICE).split(STEM_CHANNELS):
        expected = flux.double().asinh()
        bias = -expected.float()
        one = flux.new_ones(1)
        # Cutouts of one output pixel. Channel `n` is less what cutout `n` is to give.
        cutouts = flux.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
        y = stem(cutouts, torch.ones_like(flux), [one, one], flux.new_ones(1, STEM_CHANNELS), bias)
        error = y.diagonal().double() - bias.double() - expected
        is_small = expected.abs() < 1
        small.append(error[is_small])
        large.append((error / expected)[~is_small])
    for name, errors in [("asinh below 1, absolute", small), ("asinh above 1, relative", large)]:
        check(name, torch.cat(errors), torch.zeros((), device=DEVICE), 1e-6)


def main():
    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = False
    check_stem()
    check_blocks()
    check_tiles()
    check_asinh()


if __name__ == "__main__":
    main()
