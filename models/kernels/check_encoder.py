"""Compares the encoder's kernels with plain torch in float64: `python check_encoder.py` on a GPU, or with `TRITON_INTERPRET=1` on a CPU.

Tensors are bfloat16 on a GPU. In the interpreter they are float32, as its products of bfloat16 are wrong.
"""

import torch
import torch.nn.functional as F
import triton

from checks import DEVICE, INTERPRETED, TARGETS, check, launch, normal, poisoned, uniform, written

KIND = torch.float32 if INTERPRETED else torch.bfloat16
ERROR_MAX = 1e-5 if INTERPRETED else 3e-2
# Differences of large scores have fewer digits.
ATTEND_ERROR_MAX = 1e-4 if INTERPRETED else 3e-2
WIDTH, HEADS, HIDDEN, PATCH_PX = 192, 3, 768, 8
# Groups of a PCM, and the channels of its parts and of the chunks that the parts belong to.
GROUPS, PART, CHUNK = 48, 16, 64
# Tiles of this batch begin inside tokens, and the last one is not full.
BATCH = 48
# Galaxies that are computed again: in another batch, and one alone.
AGAIN = [slice(20, 36), slice(20, 21)]


def linear(outputs, inputs):
    """Weight and bias of a layer."""
    return normal(outputs, inputs, scale=inputs**-0.5, kind=KIND), normal(outputs, scale=0.2)


def rows_of(x):
    """`[batch, token, channel] -> [token * batch, channel]`."""
    return x.transpose(0, 1).flatten(0, 1)


def galaxies_of(x, batch):
    """`[token * batch, channel] -> [batch, token, channel]`."""
    return x.unflatten(0, (-1, batch)).transpose(0, 1)


def blocks_of(rows):
    return lambda block: (triton.cdiv(rows, block),)


def plain_linear(x, layer):
    return F.linear(x, *(tensor.double() for tensor in layer))


def plain_qkv(x, layer):
    return plain_linear(F.layer_norm(x, (WIDTH,), eps=1e-6), layer)


class Embed:
    """`embed`: from cutouts to the tokens and to the queries, keys and values of the first block."""

    def __init__(self, bands, px, is_scaled):
        self.grid = px // PATCH_PX
        self.scale = [uniform(0.5, 4.5, bands), uniform(0.5, 1.5, bands)] if is_scaled else None
        self.weight = normal(WIDTH, bands * PATCH_PX**2, scale=0.1, kind=KIND)
        self.positions = normal(1 + self.grid**2, WIDTH)
        self.qkv = linear(3 * WIDTH, WIDTH)
        self.inputs = normal(BATCH, bands, px, px, scale=0.5), uniform(1, 2, BATCH, bands)

    def __call__(self, target, cutouts, dereddening):
        batch, bands, _, _ = cutouts.shape
        rows = len(self.positions) * batch
        x, qkv = poisoned(rows, WIDTH, KIND), poisoned(rows, 3 * WIDTH, KIND)
        weights = *(self.scale or [self.positions] * 2), self.weight, self.positions, *self.qkv
        name = "embed_scaled" if self.scale else "embed"
        launch(target, name, blocks_of(rows), cutouts, dereddening, *weights, x, qkv, rows, batch, bands, self.grid)
        return [galaxies_of(written(y), batch) for y in (x, qkv)]

    def plain(self, cutouts, dereddening):
        by_band = lambda numbers: numbers.double()[..., None, None]
        flux = cutouts.double() * by_band(dereddening)
        if self.scale:
            slope, factor = map(by_band, self.scale)
            flux = torch.asinh(flux * slope) * factor
        kernel = self.weight.double().view(WIDTH, -1, PATCH_PX, PATCH_PX)
        patches = F.conv2d(flux, kernel, stride=PATCH_PX).flatten(2).transpose(1, 2)
        x = F.pad(patches, (0, 0, 1, 0)) + self.positions.double()
        return x, plain_qkv(x, self.qkv)


class Attend:
    """`attend`: attention of the galaxies' tokens. The scores of the first galaxies are too large for an exponential."""

    def __init__(self, tokens, tokens_max):
        self.name = f"attend_{tokens_max}"
        qkv = normal(BATCH, tokens, 3 * WIDTH)
        qkv[:2, :, : 2 * WIDTH] *= 2
        self.inputs = (qkv.to(KIND),)

    def __call__(self, target, qkv):
        batch, tokens, _ = qkv.shape
        mixed = poisoned(tokens * batch, WIDTH, KIND)
        launch(target, self.name, lambda _: (batch, HEADS), rows_of(qkv), mixed, batch, tokens, HEADS)
        return [galaxies_of(written(mixed), batch)]

    def plain(self, qkv):
        q, k, v = qkv.double().unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2)).softmax(-1)
        return ((weights @ v).transpose(1, 2).flatten(2),)


class Transform:
    """`transform`: from the attention of a block to its tokens and to the queries, keys and values of the next."""

    def __init__(self, has_pcm, has_next):
        self.name = "transform" + "_pcm" * has_pcm + "_last" * (not has_next)
        self.has_next = has_next
        self.proj, self.fc1, self.fc2 = linear(WIDTH, WIDTH), linear(HIDDEN, WIDTH), linear(WIDTH, HIDDEN)
        self.qkv = linear(3 * WIDTH, WIDTH)
        self.pcm = (linear(HIDDEN, WIDTH // GROUPS), linear(WIDTH, HIDDEN // GROUPS)) if has_pcm else None
        self.inputs = normal(BATCH, 5, WIDTH, kind=KIND), normal(BATCH, 5, WIDTH, kind=KIND)

    def packed_pcm(self):
        """The weights of the PCM as `KernelPcm::new` in models/src/fast/kernels/encoder.rs packs them: `[12, 64, 16]`, `[12, 64, 64]`."""
        (widen, widen_bias), (narrow, _) = self.pcm
        dense = lambda weight: torch.block_diag(*weight.unflatten(0, (GROUPS, -1)))
        parts = WIDTH // PART
        diagonal = lambda weight, *shape: dense(weight).view(shape).diagonal(0, 0, 2).permute(2, 0, 1)
        narrow_parts = diagonal(narrow, parts, PART, parts, CHUNK)
        placed = torch.zeros(parts, CHUNK, CHUNK, dtype=KIND, device=DEVICE)
        for part in range(parts):
            first = part * PART % CHUNK
            placed[part, first : first + PART] = narrow_parts[part]
        return diagonal(widen, parts, CHUNK, parts, PART).contiguous(), widen_bias, placed

    def __call__(self, target, x, mixed):
        batch, tokens, _ = x.shape
        rows = tokens * batch
        changed, qkv = poisoned(rows, WIDTH, KIND), poisoned(rows, 3 * WIDTH, KIND)
        changed[:rows] = rows_of(x)
        # Biases of the class token and of patches, as of `KernelBlock::new` in models/src/fast/kernels/encoder.rs.
        (proj, class_bias), pcm = self.proj, self.packed_pcm() if self.pcm else [self.proj[0]] * 3
        proj_bias = torch.stack([class_bias, class_bias + self.pcm[1][1] if self.pcm else class_bias])
        weights = proj, proj_bias, *pcm, *self.fc1, *self.fc2, *self.qkv
        launch(target, self.name, blocks_of(rows), changed, rows_of(mixed), *weights, qkv, rows, batch)
        if not self.has_next:
            assert qkv[:rows].isnan().all(), "the last block has no next one"
        return [galaxies_of(written(y), batch) for y in (changed, qkv)[: 1 + self.has_next]]

    def plain(self, x, mixed):
        x = x.double()
        y = x + plain_linear(mixed.double(), self.proj)
        if self.pcm:
            (widen, widen_bias), (narrow, narrow_bias) = ([tensor.double() for tensor in layer] for layer in self.pcm)
            hidden = F.conv1d(x[:, 1:].transpose(1, 2), widen[..., None], widen_bias, groups=GROUPS)
            y[:, 1:] += F.conv1d(F.silu(hidden), narrow[..., None], narrow_bias, groups=GROUPS).transpose(1, 2)
        hidden = plain_linear(F.layer_norm(y, (WIDTH,), eps=1e-6), self.fc1)
        y = y + plain_linear(F.gelu(hidden, approximate="tanh"), self.fc2)
        return (y, plain_qkv(y, self.qkv))[: 1 + self.has_next]


def check_kernel(name, kernel, outputs, error_max=ERROR_MAX):
    """Checks a kernel, and that a galaxy has the same bits alone and in another batch, at another place in a tile."""
    expected = kernel.plain(*kernel.inputs)
    # The interpreter has no stages. Without them, the two sets differ only in the tiles of `transform`.
    targets = TARGETS[:1] if INTERPRETED and not isinstance(kernel, Transform) else TARGETS
    for target in targets:
        found = kernel(target, *kernel.inputs)
        for output, *both in zip(outputs, found, expected):
            check(f"{name}, {target}, {output}", *both, error_max)
        for some in AGAIN:
            again = kernel(target, *(x[some] for x in kernel.inputs))
            assert all(torch.equal(y, of_all[some]) for y, of_all in zip(again, found)), f"{name}: other bits in another batch"


def main():
    torch.manual_seed(1)
    for bands, px, is_scaled in [(2, 32, False), (5, 32, True), (2, 48, True)]:
        check_kernel(f"embed, {bands} bands, {px} px, scaled {is_scaled}", Embed(bands, px, is_scaled), ["tokens", "qkv"])
    for tokens, tokens_max in [(17, 32), (37, 64), (65, 128)]:
        check_kernel(f"attend, {tokens} tokens", Attend(tokens, tokens_max), ["mixed"], ATTEND_ERROR_MAX)
    for has_pcm in (False, True):
        for has_next in (False, True):
            check_kernel(f"transform, PCM {has_pcm}, next {has_next}", Transform(has_pcm, has_next), ["tokens", "qkv"])


if __name__ == "__main__":
    main()
