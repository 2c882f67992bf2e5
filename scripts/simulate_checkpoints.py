#!/usr/bin/env python3
"""Simulates a large drop on a cluster whose processes are lost: `scripts/simulate_checkpoints.py [--help]`.

A run ends when one of its processes is lost, and starts again. Without checkpoints each start predicts the whole drop.
docs/checkpoints.md has the result and the assumptions.
"""
import argparse
import random
import statistics


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=40_000, help="splits of the drop: 25 MB each")
    parser.add_argument("--processes", type=int, default=64, help="processes of the cluster")
    parser.add_argument("--loss-hours", type=float, default=1.0, help="mean time until a process is lost")
    parser.add_argument("--restart-seconds", type=float, default=10.0, help="from a loss to the first split of the next start")
    parser.add_argument("--in-hand", type=int, default=3, help="splits of a process that are not predicted to their end")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--hours-max", type=float, default=100.0, help="a trial that takes longer is given up")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Trial:
    """One drop from its first start to its commit."""

    def __init__(self, args, split_seconds, checkpoint_seconds, rng):
        self.args, self.rng = args, rng
        self.rate = args.processes / split_seconds
        self.every = checkpoint_seconds
        self.seconds, self.starts, self.stored, self.objects = 0.0, 0, 0.0, 0
        self.predicted, self.requests = 0.0, 0.0

    def start(self):
        """One start: returns whether the drop was committed."""
        args = self.args
        self.starts += 1
        # The head and the rows of each checkpoint, and the listing.
        self.requests += 2 * self.objects + 1
        left = args.splits - self.stored
        lasts = self.rng.expovariate(args.processes / (3600 * args.loss_hours))
        works = max(0.0, min(lasts - args.restart_seconds, left / self.rate))
        done = works * self.rate
        self.predicted += done
        self.requests += done
        if self.every:
            # Each process stores what it has, one object at a time.
            rounds = int(works / self.every)
            self.objects += rounds * args.processes
            self.requests += rounds * args.processes
            in_hand = min(args.in_hand * args.processes, rounds * self.every * self.rate)
            self.stored += max(0.0, rounds * self.every * self.rate - in_hand)
        if done >= left:
            self.seconds += args.restart_seconds + works
            return True
        self.seconds += lasts
        return False

    def run(self):
        while not self.start():
            if self.seconds > 3600 * self.args.hours_max:
                return None
        return self


def row(args, split_seconds, checkpoint_seconds):
    rng = random.Random(args.seed)
    trials = [Trial(args, split_seconds, checkpoint_seconds, rng).run() for _ in range(args.trials)]
    ended = [trial for trial in trials if trial]
    undisturbed = args.splits * split_seconds / args.processes + args.restart_seconds
    name = f"{checkpoint_seconds:g} s" if checkpoint_seconds else "none"
    cells = [f"{split_seconds:g}", f"{undisturbed / 60:.1f}", name]
    if 2 * len(ended) < len(trials):
        return cells + [f"more than {args.hours_max:g} h", "", "", ""]
    median = lambda of: statistics.median(of(trial) for trial in ended)
    return cells + [
        f"{median(lambda trial: trial.seconds) / 60:.1f}",
        f"{median(lambda trial: trial.starts):.0f}",
        f"{median(lambda trial: trial.predicted) / args.splits:.2f}",
        f"{median(lambda trial: trial.requests):,.0f}",
    ]


def main():
    args = arguments()
    heads = ["seconds a split", "undisturbed (min)", "checkpoint", "minutes", "starts", "predictions a row", "requests"]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for split_seconds in [0.4, 1.0, 4.0]:
        for checkpoint_seconds in [0, 30, 10, 2]:
            print("| " + " | ".join(row(args, split_seconds, checkpoint_seconds)) + " |")


if __name__ == "__main__":
    main()
