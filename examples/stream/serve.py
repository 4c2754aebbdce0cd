"""Serves an exported classifier of images to a stream of frames, in real time; needs onnxruntime and numpy, not torch.

    python serve.py student.onnx [--port 8765] [--threads 1]

A client connects and sends frames of raw bytes, uint8 (H, W, C) of the model's size, one after another. Each is
answered by one line of JSON: {"class": "cat", "probability": 0.93, "ms": 0.4}. Once a second the server prints frames/s
and the 95th percentile of its latency. `predict.py` of sansdata stands beside this file, or sansdata is installed.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time

import numpy as np

try:
    from predict import Model, PredictError, probabilities
except ImportError:
    from sansdata.deploy.predict import Model, PredictError, probabilities


def frame_shape(model: Model) -> tuple[int, int, int]:
    """(H, W, C) of a frame. Raises PredictError for a model of something else."""
    (argument,) = model.arguments.values()
    sizes = argument.shape[1:]
    if len(sizes) != 3 or not all(isinstance(size, int) for size in sizes):
        raise PredictError(f"{model.path}: takes {argument.shape}; expected images of one size")
    channels, height, width = sizes
    return height, width, channels


def answer(model: Model, frame: np.ndarray) -> dict[str, object]:
    """What the model says of uint8 (H, W, C), and in how many milliseconds."""
    start = time.perf_counter()
    images = np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32)[None] / 255
    shares = probabilities(model({next(iter(model.arguments)): images}))[0]
    label = int(shares.argmax())
    spent = 1000 * (time.perf_counter() - start)
    return {"class": model.name_of(label), "probability": round(float(shares[label]), 4), "ms": round(spent, 3)}


def serve(model: Model, connection: socket.socket, every: float = 1.0) -> int:
    """Answers frames until the client ends. Gives how many there were."""
    shape = frame_shape(model)
    count, since, spent = 0, time.perf_counter(), []
    with connection, connection.makefile("rb") as frames:
        while len(data := frames.read(int(np.prod(shape)))) == int(np.prod(shape)):
            said = answer(model, np.frombuffer(data, np.uint8).reshape(shape))
            connection.sendall(json.dumps(said).encode() + b"\n")
            count += 1
            spent.append(float(str(said["ms"])))
            now = time.perf_counter()
            if now - since >= every:
                rate, slow = len(spent) / (now - since), float(np.percentile(spent, 95))
                print(f"{rate:.0f} frames/s, {slow:.2f} ms at the 95th percentile", flush=True)
                since, spent = now, []
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--once", action="store_true", help="end with the first client")
    args = parser.parse_args()
    try:
        model = Model(args.model, args.threads)
        height, width, channels = frame_shape(model)
    except PredictError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    with socket.create_server(("127.0.0.1", args.port)) as server:
        print(f"frames of {height} x {width} x {channels} at port {server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            print(f"{serve(model, connection)} frames answered", flush=True)
            if args.once:
                return 0


if __name__ == "__main__":
    sys.exit(main())
