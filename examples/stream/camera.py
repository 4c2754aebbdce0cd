"""Plays a set of images to the server as if a camera sent them: N frames a second, or as fast as it answers.

    python camera.py images.npy [--port 8765] [--rate 30] [--frames 300]

images.npy: uint8 (N, H, W, C) or (N, H, W), of the size of the model.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections import Counter

import numpy as np


def play(images: np.ndarray, port: int, rate: float, frames: int) -> tuple[Counter[str], float]:
    """(how often each class was named, frames a second). rate 0 sends the next frame when the last was answered."""
    named: Counter[str] = Counter()
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for number in range(frames):
            if rate:
                time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            connection.sendall(np.ascontiguousarray(images[number % len(images)]).tobytes())
            named[json.loads(answers.readline())["class"]] += 1
    return named, frames / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--frames", type=int, default=300)
    args = parser.parse_args()
    named, rate = play(np.load(args.images, allow_pickle=False), args.port, args.rate, args.frames)
    print(f"{rate:.1f} frames/s: " + ", ".join(f"{name} {count}" for name, count in named.most_common(5)))


if __name__ == "__main__":
    main()
