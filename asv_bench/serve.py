"""How fast `mlkit serve` answers: milliseconds from a client's request to its answer, and requests a second.

    python asv_bench/serve.py [--clients 1,8] [--requests 4000] [--model FILE]

The server is a process of its own on the same machine; without --model it serves an untrained perceptron 64-128-64-10.
"""

import argparse
import http.client
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

import mlkit
from mlkit import models
from mlkit.tasks import Predictor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,8")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.model or os.path.join(directory, "model.safetensors")
        if not options.model:
            mlkit.save(
                models.MLP([64, 128, 64, 10]), path, preprocessing={"kind": "numbers", "shape": [64]}, classes=list("0123456789")
            )
        body = json.dumps({"rows": [[0.5] * math.prod(Predictor(path).input.settings["shape"])]})
        command = [sys.executable, "-m", "mlkit", "serve", path, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
            for clients in map(int, options.clients.split(",")):
                report(port, body, clients, options.requests)
            server.send_signal(signal.SIGTERM)
            print(f"the server says: {server.stdout.read().strip()}")
    return 0


def report(port: int, body: str, clients: int, requests: int) -> None:
    seconds: list[float] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(requests // clients):
            start = time.perf_counter()
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(seconds) / (time.perf_counter() - start)
    half, most = np.percentile(np.array(seconds) * 1e3, [50, 99])
    print(f"{clients} clients: p50 {half:.2f} ms, p99 {most:.2f} ms, {rate:.0f} requests a second")


if __name__ == "__main__":
    sys.exit(main())
