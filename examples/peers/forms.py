"""The forms in which the peers run the network: a library and its arithmetic.

`make` compiles a model to a form, once, to files of a folder. `Form(FOLDER)` loads it and predicts.
"""

import collections
import concurrent.futures
import hashlib
import json
import logging
import os
import pathlib
import shutil
import threading
import warnings

import numpy as np

from catalog import arrays, columns, config_of

# By name: the library, the arithmetic and, for PyTorch, whether channels come last in memory.
FORMS = {
    "eager": ("eager", "fp32", False),
    "eager-channels-last": ("eager", "fp32", True),
    "compiled": ("inductor", "fp32", False),
    "openvino": ("openvino", "f32", False),
    "onnxruntime": ("onnxruntime", "fp32", False),
    "eager-autocast": ("eager", "autocast", True),
    "eager-bf16": ("eager", "bf16", True),
    "compiled-autocast": ("inductor", "autocast", True),
    "compiled-bf16": ("inductor", "bf16", True),
    "openvino-bf16": ("openvino", "bf16", False),
}

# By library and precision: the fastest form and its batch, as best_form.py found on the machine that README.md names.
BEST = {
    "PyTorch": {"fp32": ("compiled", 64), "bf16": ("compiled-bf16", 64)},
    "OpenVINO": {"fp32": ("openvino", 64), "bf16": ("openvino-bf16", 64)},
    "ONNX Runtime": {"fp32": ("onnxruntime", 64)},
}


def made(model, name, batch, threads, below):
    """The folder of a form, which is made unless it is there."""
    model, of_model = pathlib.Path(model), hashlib.sha256()
    for file in ("config.json", "model.safetensors"):
        of_model.update((model / file).read_bytes())
    folder = pathlib.Path(below) / f"{of_model.hexdigest()[:12]}-{name}-{batch}-{threads}"
    if not (folder / "form.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        make(model, name, batch, threads, folder)
    return folder


def make(model, name, batch, threads, folder):
    """Compile a model to a form that takes `batch` galaxies at a time on `threads` threads."""
    import torch

    from network import load

    # Of constant shapes, which are meant to be constant, and of libraries that are not needed.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    library, arithmetic, channels_last = FORMS[name]
    folder.mkdir(parents=True)
    shutil.copy(model / "config.json", folder)
    settings = json.dumps({"name": name, "batch": batch, "threads": threads})
    if library == "eager":
        shutil.copy(model / "model.safetensors", folder)
        (folder / "form.json").write_text(settings)
        return
    # OpenVINO is told its arithmetic when it loads the network.
    network = load(model, "fp32" if library == "openvino" else arithmetic, channels_last)
    config = config_of(folder)
    px, mags = config["cutout_px"], len(config.get("mags", config["bands"]))
    inputs = (torch.randn(batch, len(config["bands"]), px, px), 17 + torch.randn(batch, mags), torch.rand(batch))
    inputs = inputs if "ebv" in columns(config) else inputs[:2]
    # The code that Inductor makes has the number of threads in it.
    torch.set_num_threads(threads)
    with torch.no_grad():
        COMPILERS[library](network, inputs, folder)
    # Last: a folder that has it is whole.
    (folder / "form.json").write_text(settings)


def compile_inductor(network, inputs, folder):
    import torch

    exported = torch.export.export(network, inputs)
    # Weights are constants: batch normalisation is folded, and weights are packed for their products.
    settings = {"freezing": True}
    torch._inductor.aoti_compile_and_package(exported, package_path=str(folder / "network.pt2"), inductor_configs=settings)


def compile_openvino(network, inputs, folder):
    import openvino

    converted = openvino.convert_model(network, example_input=inputs)
    converted.reshape({into: list(tensor.shape) for into, tensor in zip(converted.inputs, inputs)})
    openvino.save_model(converted, folder / "network.xml", compress_to_fp16=False)


def compile_onnxruntime(network, inputs, folder):
    import torch

    torch.onnx.export(network, inputs, folder / "network.onnx", dynamo=True, verbose=False)


COMPILERS = {"inductor": compile_inductor, "openvino": compile_openvino, "onnxruntime": compile_onnxruntime}


def run_eager(folder, arithmetic, channels_last, _workers, threads):
    from network import load

    return in_pytorch(load(folder, arithmetic, channels_last), threads)


def run_inductor(folder, _arithmetic, _channels_last, workers, threads):
    import torch

    # The loader of C++. That of Python first compiles test programs, to find out what this processor can do: ten seconds.
    loader = torch._C._aoti.AOTIModelPackageLoader(str(folder / "network.pt2"), "model", False, workers, -1)
    return in_pytorch(lambda *inputs: loader.run(list(inputs))[0], threads)


def in_pytorch(network, threads):
    import torch

    @torch.inference_mode()
    def run(batch):
        # The number is a setting of the calling thread.
        torch.set_num_threads(threads)
        return network(*map(torch.from_numpy, batch)).numpy()

    return run


def run_openvino(folder, arithmetic, _channels_last, workers, threads):
    import openvino

    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": arithmetic,
        "NUM_STREAMS": workers,
        "INFERENCE_NUM_THREADS": workers * threads,
        "CACHE_DIR": str(folder / "cache"),
    }
    compiled = openvino.Core().compile_model(folder / "network.xml", "CPU", settings)
    of_thread = threading.local()

    def run(batch):
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        return of_thread.request.infer(batch, share_inputs=True)[0]

    return run


def run_onnxruntime(folder, _arithmetic, _channels_last, _workers, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])
    names = [into.name for into in session.get_inputs()]
    return lambda batch: session.run(None, dict(zip(names, batch)))[0]


RUNNERS = {"eager": run_eager, "inductor": run_inductor, "openvino": run_openvino, "onnxruntime": run_onnxruntime}


class Form:
    """A model in a form, loaded. It predicts several batches at once, as many as its threads leave room for on these cores."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.config = config_of(folder)
        settings = json.loads((folder / "form.json").read_text())
        self.batch, threads = settings["batch"], settings["threads"]
        self.workers = max(1, len(os.sched_getaffinity(0)) // threads)
        library, arithmetic, channels_last = FORMS[settings["name"]]
        self.run = RUNNERS[library](folder, arithmetic, channels_last, self.workers, threads)
        self.pool = concurrent.futures.ThreadPoolExecutor(self.workers)

    def __call__(self, table):
        """The redshifts of the rows of a table."""
        return np.concatenate([np.empty(0, np.float32), *self.begin(table)])

    def stream(self, tables):
        """Each of several tables with its redshifts. The next table is begun before one is waited for, so no core is idle."""
        begun = collections.deque()
        for table in tables:
            begun.append((table, self.begin(table)))
            if len(begun) > 1:
                table, parts = begun.popleft()
                yield table, np.concatenate(list(parts))
        for table, parts in begun:
            yield table, np.concatenate(list(parts))

    def begin(self, table):
        inputs = arrays(table, self.config)
        return self.pool.map(lambda first: self.part(inputs, first), range(0, len(table), self.batch))

    def part(self, inputs, first):
        """The redshifts of the batch that begins at a row. A batch that is not full is padded with zeros."""
        rows = [array[first : first + self.batch] for array in inputs]
        padded = [np.zeros((self.batch, *array.shape[1:]), np.float32) for array in rows]
        for whole, part in zip(padded, rows):
            whole[: len(part)] = part
        return self.run(padded)[: len(rows[0])]
