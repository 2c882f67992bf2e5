"""AstroMAE in plain PyTorch, after its published description: what the network in Rust is checked against.

Parameter names are the public checkpoint's. `fill` gives every tensor the values of the rule in models/src/init.rs.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads, split_bias):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=not split_bias)
        self.proj = nn.Linear(width, width)
        self.split_bias = split_bias
        if split_bias:  # The keys have no bias.
            self.q_bias = nn.Parameter(torch.zeros(width))
            self.v_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        batch, tokens, width = x.shape
        bias = self.qkv.bias
        if self.split_bias:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q * (width // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """`places` are the patches that are there, where they are not all: a masked convolution sees the others empty."""

    def __init__(self, width, heads, pcm, kernel=1, group=48, grid=4):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, pcm)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)
        self.grid = grid
        if pcm:
            conv = dict(kernel_size=kernel, padding=kernel // 2, groups=group)
            self.PCM = nn.Sequential(
                nn.Conv2d(width, 4 * width, **conv),
                nn.BatchNorm2d(4 * width),
                nn.SiLU(),
                nn.Conv2d(4 * width, width, **conv),
            )

    def convolve(self, conv, x, places):
        batch, n, channels = x.shape
        sky = torch.zeros(batch, channels, self.grid**2, dtype=x.dtype)
        sky = sky.scatter(2, places[:, None].expand(-1, channels, -1), x.transpose(1, 2))
        y = conv(sky.view(batch, channels, self.grid, self.grid)).flatten(2)
        return y.gather(2, places[:, None].expand(-1, y.shape[1], -1)).transpose(1, 2)

    def local(self, x, places):
        if places is None:
            sky = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))
            return self.PCM(sky).flatten(2).transpose(1, 2)
        hidden = self.convolve(self.PCM[0], x, places)
        hidden = self.PCM[2](self.PCM[1](hidden.transpose(1, 2)[..., None]))[..., 0].transpose(1, 2)
        return self.convolve(self.PCM[3], hidden, places)

    def forward(self, x, places=None):
        local = self.local(x[:, 1:], places) if hasattr(self, "PCM") else None
        x = x + self.attn(self.norm1(x))
        if local is not None:
            x = torch.cat([x[:, :1], x[:, 1:] + local], 1)
        return x + self.mlp(self.norm2(x))


class ConvBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.Module):
    def __init__(self, inputs, outputs, last=False):
        super().__init__()
        self.last = last  # The last block's 5x5 branch is in its checkpoint, and not in its output.
        self.branch1 = ConvBlock(inputs, outputs, 1)
        self.branch2 = nn.Sequential(ConvBlock(inputs, outputs, 1), ConvBlock(outputs, outputs, 3))
        self.branch3 = nn.Sequential(ConvBlock(inputs, outputs, 1), ConvBlock(outputs, outputs, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvBlock(inputs, outputs, 1))

    def forward(self, x):
        middle = [] if self.last else [self.branch3(x)]
        return torch.cat([self.branch1(x), self.branch2(x), *middle, self.branch4(x)], 1)


class Inception(nn.Module):
    def __init__(self, bands=5, mags=5, grid=4):
        super().__init__()
        self.conv2d_init = nn.Conv2d(bands, 32, 1)
        dense = [nn.Linear(mags, 1024)]
        for _ in range(4):
            dense += [nn.ReLU(), nn.Linear(1024, 1024)]
        self.magnitude_block = nn.Sequential(*dense)
        self.vis_inception = nn.Sequential(
            self.conv2d_init,
            nn.AvgPool2d(2),
            InceptionBlock(32, 16),
            InceptionBlock(64, 16),
            nn.AvgPool2d(2),
            InceptionBlock(64, 8),
            InceptionBlock(32, 8),
            nn.AvgPool2d(2),
            InceptionBlock(32, 4, last=True),
            nn.Flatten(),
            nn.Linear(12 * grid**2, 1096),
            nn.ReLU(),
            nn.Linear(1096, 1096),
        )


class PatchEmbed(nn.Module):
    def __init__(self, width, bands=5):
        super().__init__()
        self.proj = nn.Conv2d(bands, width, 8, 8)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


def position_table(width=192, grid=4):
    frequency = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    rows = [np.zeros(width)]
    for y in range(grid):
        for x in range(grid):
            angles = [x * frequency, y * frequency]
            rows.append(np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)]))
    return torch.from_numpy(np.stack(rows)).float()[None]


class Trunk(nn.Module):
    def __init__(self, depth=12, heads=3, kind="pcm", kernel=1, group=48, width=192, bands=5, grid=4):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(position_table(width, grid), requires_grad=False)
        self.patch_embed = PatchEmbed(width, bands)
        self.blocks = nn.ModuleList(Block(width, heads, kind == "pcm", kernel, group, grid) for _ in range(depth))

    def tokens(self, cutouts, places=None):
        x = self.patch_embed(cutouts) + self.pos_embed[:, 1:]
        if places is not None:
            x = x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x, places)
        return x


LEVELS = [0.005, 0.025, 0.05, 0.1, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
LEVELS += [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.9, 0.95, 0.975, 0.995]


def quantiles(out):
    """The quantiles of a head: its middle output is the median, the softplus of each other one a step away from it."""
    middle = out.shape[1] // 2
    q = list(out.unbind(1))
    for k in range(middle + 1, len(q)):
        q[k] = q[k - 1] + F.softplus(out[:, k])
    for k in reversed(range(middle)):
        q[k] = q[k + 1] - F.softplus(out[:, k])
    return torch.stack(q, 1)


def pinball(q, z_spec, levels):
    """The pinball loss of each quantile of each galaxy."""
    error = z_spec[:, None] - q
    levels = torch.tensor(levels, dtype=q.dtype)
    return torch.maximum(levels * error, (levels - 1) * error)


class AstroMAE(Trunk):
    """Gives redshifts, or quantiles if the last layer has an output for each of several levels."""

    def __init__(self, width=192, levels=1, bands=5, mags=5, grid=4, **kwargs):
        super().__init__(width=width, bands=bands, grid=grid, **kwargs)
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, width)
        self.inception_model = Inception(bands, mags, grid)
        self.vit_block = nn.Sequential(nn.Linear(width, 1096), nn.ReLU(), nn.Linear(1096, 1096))
        self.concat_block = nn.Sequential(nn.Linear(3216, 1024), nn.ReLU(), nn.Linear(1024, levels))

    def forward(self, cutouts, mags):
        encoded = self.fc_norm(self.tokens(cutouts)[:, 1:].mean(1))
        features = [
            self.vit_block(self.head(encoded)),
            self.inception_model.vis_inception(cutouts),
            self.inception_model.magnitude_block(mags),
        ]
        out = self.concat_block(torch.cat(features, 1))
        return out[:, 0] if out.shape[1] == 1 else quantiles(out)


class MaskedAutoencoder(Trunk):
    def __init__(self, width=192, **kwargs):
        super().__init__(width=width, **kwargs)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, 192)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 192))
        self.decoder_pos_embed = nn.Parameter(position_table(), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(192, 3, False) for _ in range(4))
        self.decoder_norm = nn.LayerNorm(192, eps=1e-6)
        self.decoder_pred = nn.Linear(192, 5 * 8 * 8)

    def loss(self, cutouts, order, seen):
        """`order` is a shuffle of the patches of each cutout, `[batch, 16]`; the first `seen` are seen."""
        batch = len(cutouts)
        tokens = self.decoder_embed(self.norm(self.tokens(cutouts, order[:, :seen])))
        masks = self.mask_token.expand(batch, order.shape[1] - seen, -1)
        patches = torch.cat([tokens[:, 1:], masks], 1)
        patches = patches.gather(1, order.argsort(1)[..., None].expand(-1, -1, patches.shape[2]))
        x = torch.cat([tokens[:, :1], patches], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        drawn = self.decoder_pred(self.decoder_norm(x[:, 1:]))
        target = cutouts.view(batch, 5, 4, 8, 4, 8).permute(0, 2, 4, 1, 3, 5).reshape(batch, 16, -1)
        masked = order[:, seen:, None].expand(-1, -1, drawn.shape[2])
        return F.mse_loss(drawn.gather(1, masked), target.gather(1, masked))


def uniform(name, n):
    """`n` numbers in [0, 1) that follow from a name: splitmix64 over FNV-1a."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**24


ONE = ("norm1.weight", "norm2.weight", "fc_norm.weight", "bn.weight", "PCM.1.weight")


def fill(model):
    state = model.state_dict()
    for key, tensor in state.items():
        if "pos_embed" in key or key.endswith("num_batches_tracked"):
            continue
        name = key.replace("vis_inception.0.", "conv2d_init.")
        u = uniform(name, tensor.numel())
        s = 2 * u - 1
        if name.endswith("running_var"):
            values = 0.5 + u
        elif name.endswith("running_mean"):
            values = 0.1 * s
        elif name.endswith(ONE):
            values = 1 + 0.1 * s
        elif name.endswith((".bias", "q_bias", "v_bias")):
            values = 0.1 * s
        elif name == "cls_token":
            values = 0.02 * s
        else:
            values = s * math.sqrt(3 / np.prod(tuple(tensor.shape)[1:]))
        state[key] = torch.from_numpy(values.astype(np.float32).reshape(tuple(tensor.shape)))
    model.load_state_dict(state)
    return model


def inputs(batch=4):
    """The batch of `models::init::inputs`: a Gaussian galaxy in noise, magnitudes between 15 and 21."""
    y, x = np.mgrid[:32, :32] - 15.5
    galaxy = np.exp(-(x**2 + y**2) / 18)
    noise = 2 * uniform("input.image", batch * 5 * 1024).reshape(batch, 5, 32, 32) - 1
    amplitude = 1 + 4 * uniform("input.amp", batch * 5).reshape(batch, 5, 1, 1)
    cutouts = (0.3 * noise + amplitude * galaxy).astype(np.float32)
    mags = (15 + 6 * uniform("input.mag", batch * 5)).reshape(batch, 5).astype(np.float32)
    return torch.from_numpy(cutouts), torch.from_numpy(mags)
