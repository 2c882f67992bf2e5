"""Measure the network alone in OpenVINO: galaxies per second on one core, compiled, without reading and writing. `python openvino_alone.py MODEL f32 [bf16]`"""

import sys
import time

import openvino
import torch

from network import load

BATCH, SECONDS = 128, 10

network = load(sys.argv[1])
inputs = (torch.randn(BATCH, 5, 32, 32), 15 + 6 * torch.rand(BATCH, 5))
converted = openvino.convert_model(network, example_input=inputs)
converted.reshape({converted.inputs[0]: [BATCH, 5, 32, 32], converted.inputs[1]: [BATCH, 5]})
with torch.no_grad():
    eager = network(*inputs).numpy()
inputs = [tensor.numpy() for tensor in inputs]
for precision in sys.argv[2:]:
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    difference = abs(compiled(inputs)[0] - eager).max()
    began, used, batches = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < SECONDS:
        compiled(inputs)
        batches += 1
    used = time.process_time() - used
    print(f"{precision}: {batches * BATCH / used:.0f} galaxies a CPU second, at most {difference:.1e} from PyTorch")
