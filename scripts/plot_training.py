"""The losses of trainings as one SVG: `python plot_training.py LOG.jsonl… > curves.svg`. A log is what `hubbleflow train` leaves.

A line is the running mean of 20 logged batches, a dot the loss on the validation rows; each log has an axis of its own.
"""

import json
import math
import sys

WIDTH, HEIGHT, MARGIN = 420, 260, 46


def panel(path, left):
    lines = [json.loads(line) for line in open(path)]
    first = next(line for line in lines if "steps" in line)
    per_epoch = first["rows"] // first["schedule"]["batch"]
    steps = [(line["step"], line["loss"]) for line in lines if "gradient" in line]
    smooth = [(step, sum(loss for _, loss in steps[max(0, n - 19) : n + 1]) / min(n + 1, 20)) for n, (step, _) in enumerate(steps)]
    ends = [(line["epoch"] * per_epoch, line["validation"]["loss"]) for line in lines if "validation" in line]
    values = [math.log10(loss) for _, loss in smooth + ends]
    low, high = min(values), max(values)
    x = lambda step: left + MARGIN + step / (first["steps"]) * (WIDTH - MARGIN - 12)
    y = lambda loss: 28 + (high - math.log10(loss)) / (high - low or 1) * (HEIGHT - 28 - MARGIN)
    points = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in smooth)
    yield f'<polyline points="{points}" fill="none" stroke="#4477aa" stroke-width="1.3"/>'
    for step, loss in ends:
        yield f'<circle cx="{x(step):.1f}" cy="{y(loss):.1f}" r="4" fill="#cc3311"/>'
    for power in (low, (low + high) / 2, high):
        yield f'<text x="{left + MARGIN - 6}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:.1e}</text>'
    yield f'<text x="{left + MARGIN}" y="16">{first["config"]["name"]}: loss</text>'
    yield f'<text x="{left + WIDTH - 12}" y="{HEIGHT - 12}" text-anchor="end">step {first["steps"]}</text>'


logs = sys.argv[1:]
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(logs)}" height="{HEIGHT}" font-family="sans-serif" font-size="11">')
print('<rect width="100%" height="100%" fill="white"/>')
for n, log in enumerate(logs):
    print("\n".join(panel(log, n * WIDTH)))
print("</svg>")
