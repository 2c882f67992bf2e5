"""Writes image files and networks as users have them, with PyTorch (if it is installed) and NumPy.

imports.py images FOLDER    the same galaxies in every form, reference/drop/part.parquet, and bad files in wrong/
imports.py networks FOLDER  an AstroMAE of one block whose weights follow the rule of `model init`, saved in each way
imports.py astroclip FOLDER a small AstroCLIP by the same rule, as Lightning saves it, and its backbone as DINOv2 does
"""
import functools
import json
import pathlib
import sys
import types

import numpy as np

try:
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset
except ImportError:
    import torch_format as torch
    from torch_format import TensorDataset, nn

BANDS = ["u", "g", "r", "i", "z"]
ROWS, SIDE, FIRST_ID = 24, 32, 1000


def galaxies():
    """Numbers of few digits, which float16 holds exactly."""
    count = np.arange(ROWS * 5 * SIDE * SIDE, dtype=np.int64)
    cutout = (((count * 37) % 255 - 127) / 16).astype(np.float32).reshape(ROWS, 5, SIDE, SIDE)
    row = np.arange(ROWS)
    mag = np.stack([base + 0.25 * (row % 7) for base in (20.0, 18.5, 17.5, 17.0, 16.5)], 1).astype(np.float32)
    z_spec = ((row + 1) / 64).astype(np.float32)
    mag[3, 0], z_spec[5] = -9999, np.nan
    return cutout, mag, z_spec, 150 + 0.25 * row, 0.125 * row - 10


def images(folder):
    cutout, mag, z_spec, ra, dec = galaxies()
    write_reference(folder / "reference/drop", cutout, mag, z_spec, ra, dec)
    lines = [f"{float(ra[row])},{float(dec[row])}" for row in range(ROWS)]
    (folder / "positions.csv").write_text("\n".join(["ra,dec", *lines, ""]))
    write_torch(folder, cutout, mag, z_spec)
    write_numpy(folder, cutout, mag, z_spec, ra, dec)
    write_wrong(folder, cutout, mag, z_spec)
    json.dump({"torch": torch.__name__}, sys.stdout)


def write_reference(folder, cutout, mag, z_spec, ra, dec):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    columns = {"object_id": pa.array(range(FIRST_ID, FIRST_ID + ROWS), pa.int64()), "ra": ra, "dec": dec}
    columns |= {f"mag_{band}": mag[:, number] for number, band in enumerate(BANDS)}
    columns |= {"z_spec": z_spec, "cutout": pa.FixedSizeListArray.from_arrays(cutout.reshape(-1), cutout[0].size)}
    pq.write_table(pa.table(columns), folder / "part.parquet")


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def write_torch(folder, cutout, mag, z_spec):
    image, magnitude, redshift = tensors(cutout, mag, z_spec)
    torch.save(TensorDataset(image, magnitude, redshift), folder / "dataset.pt")
    torch.save((image, magnitude, redshift), folder / "tuple.pt")
    torch.save([image, magnitude, torch.from_numpy(z_spec[:, None])], folder / "list.pt")
    torch.save({"image": image, "magnitude": magnitude, "redshift": redshift}, folder / "dict.pt")
    torch.save(tuple(tensors(*(array.astype(np.float64) for array in (cutout, mag, z_spec)))), folder / "float64.pt")
    # float16 does not hold -9999 exactly.
    torch.save((torch.from_numpy(cutout.astype(np.float16)), magnitude, redshift), folder / "float16.pt")
    last = torch.from_numpy(np.ascontiguousarray(cutout.transpose(0, 2, 3, 1)))
    torch.save((last, magnitude, redshift), folder / "bands_last.pt")
    torch.save((last.permute(0, 3, 1, 2), magnitude, redshift), folder / "transposed.pt")
    # Magnitudes and redshifts share the storage of a table with 7 columns and additional rows at both ends.
    table = np.zeros((ROWS + 6, 7), np.float32)
    table[4:-2, :5], table[4:-2, 6] = mag, z_spec
    table = torch.from_numpy(table)
    torch.save((image, table[4:-2, :5], table[4:-2, 6]), folder / "shared.pt")


def write_numpy(folder, cutout, mag, z_spec, ra, dec):
    cube = np.ascontiguousarray(cutout.transpose(0, 2, 3, 1))
    fields = [("specObjID", "<u8"), ("objID", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("EBV", "<f4"), ("z", "<f4"),
              *((f"dered_petro_{band}", "<f4") for band in BANDS), ("class", "U8"), ("flags", "S3")]
    labels = np.zeros(ROWS, fields)
    labels["objID"], labels["ra"], labels["dec"], labels["z"] = np.arange(ROWS) + FIRST_ID, ra, dec, z_spec
    for number, band in enumerate(BANDS):
        labels[f"dered_petro_{band}"] = mag[:, number]
    np.savez(folder / "pasquet.npz", cube=cube, labels=labels)
    np.savez_compressed(folder / "compressed.npz", cube=cube, labels=labels)
    np.savez(folder / "fortran.npz", cube=np.asfortranarray(cube), labels=labels)
    np.savez_compressed(folder / "fortran_compressed.npz", cube=np.asfortranarray(cube), labels=labels)
    # Fields that the import does not read may have any type.
    np.savez(folder / "with_objects.npz", cube=cube, labels=labels, notes=np.array([{}, "x"], object))
    big = labels.astype(labels.dtype.newbyteorder(">"))
    np.savez(folder / "big_endian.npz", cube=cube.astype(">f8"), labels=big)


def write_wrong(folder, cutout, mag, z_spec):
    image, magnitude, redshift = tensors(cutout, mag, z_spec)
    wrong = folder / "wrong"
    wrong.mkdir()
    torch.save((image[:, :3], magnitude, redshift), wrong / "three_bands.pt")
    torch.save((image, magnitude[:-1], redshift), wrong / "rows.pt")
    torch.save((image, magnitude, redshift, types.SimpleNamespace(seed=1)), wrong / "unknown.pt")
    torch.save("a text", wrong / "text.pt")
    whole = (folder / "dataset.pt").read_bytes()
    (wrong / "truncated.pt").write_bytes(whole[:-1000])
    (wrong / "text_file.pt").write_text("no archive")
    objects = np.array([{"z": z} for z in z_spec], object)
    np.savez(wrong / "objects.npz", cube=cutout, labels=objects)
    ids = np.arange(ROWS, dtype=float)
    np.savez(wrong / "float_ids.npz", cube=cutout, mag=mag, z=z_spec, ra=ids, dec=ids, object_id=ids)
    np.savez(wrong / "no_mags.npz", cube=cutout, z=z_spec, ra=ids, dec=ids, object_id=ids.astype(int))
    whole = (folder / "compressed.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[2000:2100] = bytes(100)
    (wrong / "damaged.npz").write_bytes(damaged)


# The network, with the names of the public checkpoint. The tests never run it in Python.

def conv_block(i, o, kernel):
    block = nn.Module()
    block.conv, block.bn = nn.Conv2d(i, o, kernel), nn.BatchNorm2d(o)
    return block


def inception_block(i, o):
    block = nn.Module()
    block.branch1 = conv_block(i, o, 1)
    block.branch2 = nn.Sequential(conv_block(i, o, 1), conv_block(o, o, 3))
    block.branch3 = nn.Sequential(conv_block(i, o, 1), conv_block(o, o, 5))
    block.branch4 = nn.Sequential(nn.MaxPool2d(3), conv_block(i, o, 1))
    return block


def tail(i, hidden, o):
    return nn.Sequential(nn.Linear(i, hidden), nn.ReLU(), nn.Linear(hidden, o))


class Inception(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.conv2d_init = nn.Conv2d(5, 32, 1)
        layers = [nn.Linear(5, 1024)]
        for _ in range(4):
            layers += [nn.ReLU(), nn.Linear(1024, 1024)]
        self.magnitude_block = nn.Sequential(*layers)
        pool = nn.AvgPool2d
        self.vis_inception = nn.Sequential(
            self.conv2d_init, pool(2), inception_block(32, 16), inception_block(64, 16), pool(2), inception_block(64, 8),
            inception_block(32, 8), pool(2), inception_block(32, 4), nn.Flatten(), nn.Linear(d, 1096), nn.ReLU(),
            nn.Linear(1096, 1096))


def encoder_block(d, heads, kernel, group):
    block, pcm = nn.Module(), kernel > 0
    block.norm1, block.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
    block.attn, block.mlp = nn.Module(), nn.Module()
    block.attn.num_heads = heads
    block.attn.qkv, block.attn.proj = nn.Linear(d, 3 * d, bias=not pcm), nn.Linear(d, d)
    block.mlp.fc1, block.mlp.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
    if pcm:
        block.attn.q_bias, block.attn.v_bias = (nn.Parameter(torch.from_numpy(np.zeros(d, np.float32))) for _ in "qv")
        block.PCM = nn.Sequential(nn.Conv2d(d, 4 * d, kernel, groups=group), nn.BatchNorm2d(4 * d), nn.SiLU(),
                                  nn.Conv2d(4 * d, d, kernel, groups=group))
    return block


class AstroMAE(nn.Module):
    def __init__(self, kernel, group, d=192, heads=3):
        super().__init__()
        self.cls_token = nn.Parameter(torch.from_numpy(np.zeros((1, 1, d), np.float32)))
        self.pos_embed = nn.Parameter(torch.from_numpy(np.zeros((1, 17, d), np.float32)))
        self.fc_norm, self.head = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, d)
        self.inception_model = Inception(d)
        self.blocks = nn.ModuleList([encoder_block(d, heads, kernel, group)])
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(5, d, 8, 8)
        self.vit_block, self.concat_block = tail(d, 1096, 1096), tail(3216, 1024, 1)


def uniform(name, count):
    """The rule of `model init`: the values of a tensor depend on its name."""
    mask, hashed = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in name.encode():
        hashed = ((hashed ^ byte) * 0x100000001B3) & mask
    with np.errstate(over="ignore"):
        z = np.uint64(hashed) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**24


def values(name, shape):
    if name == "pos_embed":
        return positions(shape[2])
    name = name.replace("vis_inception.0.", "conv2d_init.")
    u = uniform(name, int(np.prod(shape)))
    s = 2 * u - 1
    norms = ("norm1.weight", "norm2.weight", "norm.weight", "bn.weight", "PCM.1.weight", "gamma")
    tokens = ("cls_token", "backbone.pos_embed", "mask_token", "attention.query")
    if name.endswith("running_var"):
        filled = 0.5 + u
    elif name.endswith(("running_mean", "bias")):
        filled = 0.1 * s
    elif name.endswith(norms):
        filled = 1 + 0.1 * s
    elif name.endswith(tokens):
        filled = 0.02 * s
    else:
        filled = s * np.sqrt(3 / np.prod(shape[1:]))
    return filled.astype(np.float32).reshape(shape)


def positions(d, grid=4):
    frequency = 1 / 10000 ** (np.arange(d // 4) / (d / 4))
    rows = [np.zeros(d)]
    for patch in range(grid * grid):
        angles = [place * frequency for place in (patch % grid, patch // grid)]
        rows.append(np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)]))
    return np.stack(rows).astype(np.float32)[None]


def fill(module, prefix=""):
    for part in (module._parameters, module._buffers):
        for name, value in part.items():
            if value is not None and name != "num_batches_tracked":
                filled = torch.from_numpy(values(prefix + name, tuple(value.shape)))
                if hasattr(value, "data") and part is module._parameters:
                    value.data = filled
                else:
                    part[name] = filled
    for name, inner in module._modules.items():
        fill(inner, f"{prefix}{name}.")
    return module


def networks(folder):
    pcm = fill(AstroMAE(kernel=3, group=48))
    torch.save(nn.DataParallel(pcm), folder / "parallel.pt")
    torch.save(pcm.state_dict(), folder / "state_dict.pt")
    torch.save({"model": pcm.state_dict(), "epoch": 3, "args": types.SimpleNamespace(lr=0.1)}, folder / "checkpoint.pt")
    torch.save(fill(AstroMAE(kernel=0, group=0)), folder / "plain.pt")
    torch.save(nn.Linear(3, 2), folder / "linear.pt")
    odd = AstroMAE(kernel=1, group=48)
    odd.fc_norm.eps = 1e-3
    torch.save(odd, folder / "epsilon.pt")
    json.dump({"torch": torch.__name__}, sys.stdout)


# AstroCLIP's image encoder, small: a width of 64, two blocks in two chunks, four patches of 4 pixels, a query of width 32.

def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def backbone_shapes(d=64, patch=4, patches=4):
    shapes = {"cls_token": (1, 1, d), "pos_embed": (1, patches + 1, d), "mask_token": (1, d)}
    shapes |= layer("patch_embed.proj", d, 3, patch, patch) | layer("norm", d)
    for block in ("blocks.0.0", "blocks.1.1"):
        shapes |= layer(f"{block}.norm1", d) | layer(f"{block}.attn.qkv", 3 * d, d) | layer(f"{block}.attn.proj", d, d)
        shapes |= layer(f"{block}.norm2", d) | layer(f"{block}.mlp.fc1", 4 * d, d) | layer(f"{block}.mlp.fc2", d, 4 * d)
        shapes |= {f"{block}.ls1.gamma": (d,), f"{block}.ls2.gamma": (d,)}
    return {f"backbone.{name}": shape for name, shape in shapes.items()}


def query_shapes(d=64, q=32):
    attention = "cross_attention.multihead_attn"
    shapes = {"cross_attention.query": (1, 1, q), f"{attention}.in_proj_bias": (3 * q,)}
    shapes |= {f"{attention}.q_proj_weight": (q, q), f"{attention}.k_proj_weight": (q, d), f"{attention}.v_proj_weight": (q, d)}
    shapes |= layer(f"{attention}.out_proj", q, q) | layer("cross_attention.layernorm", q)
    return shapes | layer("mlp.encoder", 4 * q, q) | layer("mlp.decoder", q, 4 * q)


def astroclip(folder):
    def state(prefix, shapes):
        return {prefix + name: torch.from_numpy(values(name, shape)) for name, shape in shapes.items()}

    spectra = state("spectrum_encoder.", query_shapes())
    settings = types.SimpleNamespace(image_encoder=functools.partial(dict, embed_dim=32), lr=1e-4)
    lightning = {
        "epoch": 3, "global_step": 10, "pytorch-lightning_version": "2.2.1",
        "state_dict": state("image_encoder.", backbone_shapes() | query_shapes()) | spectra,
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "lr_schedulers": [{"last_epoch": 3}],
        "optimizer_states": [{"state": {0: {"step": torch.from_numpy(np.ones(1, np.float32))}}, "param_groups": []}],
        "hyper_parameters": {"settings": settings, "temperature": 15.5},
    }
    torch.save(lightning, folder / "astroclip.ckpt")
    dino = state("", backbone_shapes()) | {"dino_head.mlp.0.bias": torch.from_numpy(np.ones(2, np.float32))}
    torch.save({"teacher": dino}, folder / "teacher_checkpoint.pth")
    json.dump({"torch": torch.__name__}, sys.stdout)


if __name__ == "__main__":
    {"images": images, "networks": networks, "astroclip": astroclip}[sys.argv[1]](pathlib.Path(sys.argv[2]))
