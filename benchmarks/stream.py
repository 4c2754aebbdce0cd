"""Frames a second of recurrent students on a film as it comes, on one core: python benchmarks/stream.py [SIZE]

Each frame is asked alone, with the state carried over; by the module, and by ONNX where its libraries are there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sansdata.deploy.streaming import Step, Stream, export_step
from sansdata.models.build import architecture_of, build
from sansdata.tasks import load_task

NAMES = ("convlstm-1x1", "convlstm-1x2", "convlstm-2x1", "convlstm-2x2", "convlstm-3x1")
FRAMES, WARM = 40, 5


def main(size: int) -> None:
    torch.set_num_threads(1)
    task = load_task({"kind": "clip-segmentation", "shape": [1, 25, size, size], "classes": 2})
    film = np.random.default_rng(0).integers(0, 256, (FRAMES + WARM, size, size, 1), dtype=np.uint8)
    print(f"{'student':<14} {'parameters':>10} {'torch':>8} {'onnx':>8}   frames a second, {size}x{size}, one core")
    for name in NAMES:
        module = build(architecture_of(name, task)).eval()
        count = sum(p.numel() for p in module.parameters())
        stream = Stream(module, task)
        with tempfile.TemporaryDirectory() as folder:
            onnx = by_onnx(module, task, size, Path(folder) / "step.onnx")
            speeds = [speed(stream, film), speed(onnx, film)]
        print(f"{name:<14} {count:>10,} {speeds[0]:>8.0f} {speeds[1]:>8.0f}")


def speed(ask: Callable[[np.ndarray], object], film: np.ndarray) -> float:
    """Frames by the processor's own clock, which other work on the machine does not stretch."""
    for frame in film[:WARM]:
        ask(frame)
    start = time.process_time()
    for frame in film[WARM:]:
        ask(frame)
    return FRAMES / (time.process_time() - start)


def by_onnx(module: torch.nn.Module, task: object, size: int, path: Path) -> Callable[[np.ndarray], object]:
    """The exported step, with the state handed on."""
    import onnxruntime

    names = export_step(module, task, (size, size), path)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    state = [part.numpy() for part in Step(module, task).blank((size, size))]  # type: ignore[arg-type]

    def ask(frame: np.ndarray) -> np.ndarray:
        given = [np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32) / 255, *state]
        answer, *state[:] = session.run(None, dict(zip(names, given)))
        return np.asarray(answer)

    return ask


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 112)
