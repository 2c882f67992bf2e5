#!/usr/bin/env python3
"""Times a run from an S3 server to committed Parquet on it, a cold process on all cores, and the model's share of its CPU time.

The server is moto, a process of its own whose CPU time does not count (though it takes its share of the cores): run it with
the Python that `make test` sets up.
Usage: .venv/bin/python scripts/bench-s3.py HUBBLEFLOW [GALAXIES [ROUNDS]]
"""
import json, os, statistics, subprocess, sys

import boto3

PLACE = dict(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1", AWS_ALLOW_HTTP="true")


def start():
    """A server on a port that is free, and where it listens."""
    words = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with open(os.devnull, "w") as nowhere:
        server = subprocess.Popen(words, stdout=nowhere, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "Running on " in line:
            return server, line.split("Running on ")[1].strip()
    sys.exit("moto did not start")


def main(hubbleflow, galaxies="20000", rounds="3"):
    server, endpoint = start()
    # It logs each request: somebody must read on.
    drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    try:
        keys = dict(aws_access_key_id="key", aws_secret_access_key="secret")
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="sky")
        environment = dict(os.environ, **PLACE, AWS_ENDPOINT=endpoint)
        call = lambda *words: subprocess.run([hubbleflow, *words], check=True, capture_output=True, text=True, env=environment)
        call("sample", "s3://sky/catalog", "--galaxies", galaxies, "--px", "32", "--drops", "1", "--corrections", "0")
        runs = []
        for number in range(int(rounds)):
            words = ["bench", "run", "s3://sky/catalog", "--out", f"s3://sky/{number}", "--model", "bundled", "--json"]
            runs.append(json.loads(call(*words).stdout))
        median = lambda name: statistics.median(run[name] for run in runs)
        print(f"S3 to S3: {runs[0]['rows_written']} galaxies, {runs[0]['precision']}, {runs[0]['model_threads']} threads, medians of {rounds}: "
              f"{median('wall_seconds'):.1f} s, {median('cpu_seconds'):.1f} CPU s, of them the model's {100 * median('model_share'):.0f}%, "
              f"{median('peak_rss_bytes') / 1e6:.0f} MB")
    finally:
        server.kill()
        drain.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
