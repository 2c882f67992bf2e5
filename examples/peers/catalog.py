"""The galaxies of a catalog, on disk or in an S3 bucket, as arrays for a model."""

import json
import os
import pathlib

import numpy as np
import pyarrow as pa
from pyarrow import fs


def place(url):
    """The filesystem of a path or URL, and the path there. The address of S3 and its keys come from the environment, as Hubbleflow's do."""
    if not url.startswith("s3://"):
        return fs.LocalFileSystem(), os.path.abspath(url)
    scheme, _, address = os.environ["AWS_ENDPOINT"].partition("://")
    where = fs.S3FileSystem(scheme=scheme, endpoint_override=address, region=os.environ["AWS_REGION"], allow_bucket_creation=True)
    return where, url.removeprefix("s3://")


def parquet_files(url):
    """The filesystem, and the paths of the Parquet files below a path or URL."""
    where, path = place(url)
    paths = [found.path for found in where.get_file_info(fs.FileSelector(path, recursive=True))]
    return where, sorted(path for path in paths if path.endswith(".parquet"))


def config_of(model):
    return json.loads((pathlib.Path(model) / "config.json").read_text())


def columns(config):
    """The columns that a model takes, by its `config.json`."""
    mags = [f"mag_{band}" for band in config.get("mags", config["bands"])]
    return ["cutout", *mags, *(["ebv"] if config["preprocess"]["cutout"].get("dereddening") else [])]


def arrays(table, config):
    """Cutouts `[row, band, px, px]`, mags `[row, mag]` and, if the model takes it, E(B-V) `[row]` of a table."""
    cutout, *mags = columns(config)
    ebv = [mags.pop()] if mags[-1] == "ebv" else []
    cutouts = table[cutout].combine_chunks()
    pixels = (cutouts.storage if isinstance(cutouts, pa.ExtensionArray) else cutouts).flatten().to_numpy()
    bands, px = len(config["bands"]), config["cutout_px"]
    numbers = {name: table[name].to_numpy().astype(np.float32) for name in mags + ebv}
    return [pixels.reshape(-1, bands, px, px), np.stack([numbers[name] for name in mags], 1), *(numbers[name] for name in ebv)]
