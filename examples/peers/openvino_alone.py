"""OpenVINO, the network alone: galaxies a second of one core, compiled, no reading and no writing. `python openvino_alone.py MODEL`"""

import sys
import time

import openvino
import torch

from network import load

BATCH, SECONDS = 128, 10

network = load(sys.argv[1])
inputs = (torch.randn(BATCH, 5, 32, 32), 15 + 6 * torch.rand(BATCH, 5))
compiled = openvino.convert_model(network, example_input=inputs)
compiled = openvino.Core().compile_model(compiled, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
inputs = [tensor.numpy() for tensor in inputs]
with torch.no_grad():
    theirs, ours = compiled(inputs)[0], network(*map(torch.from_numpy, inputs)).numpy()
difference = abs(theirs - ours).max()
began, used, batches = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < SECONDS:
    compiled(inputs)
    batches += 1
used = time.process_time() - used
print(f"{batches * BATCH / used:.0f} galaxies a CPU second, at most {difference:.1e} from PyTorch")
