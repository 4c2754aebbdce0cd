"""What an exported model costs on this machine: latency of one input, and the memory of a process that has only it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import columns
from ..kinds.index import input_kind
from ..tasks import Task
from . import predict

THREADS = 1
"""Of a pass: the one number at which machines compare."""
SECONDS = 120
"""After which a process that measures memory is given up."""


@dataclass(frozen=True)
class Cost:
    """Milliseconds of a pass of one input, its threads, and the peak memory of a process in MB; None where no process
    of its own measured it."""

    p50: float
    p95: float
    p99: float
    threads: int
    peak_memory_mb: float | None = None


def example(task: Task, count: int = 1) -> dict[str, np.ndarray]:
    """Columns of the first inputs that the kind draws, under the names that an exported model gives them."""
    kind = input_kind(task)
    drawn = kind.unpack(kind.pack(kind.draw(count, torch.Generator().manual_seed(0))))
    return {name: part.numpy() for name, part in zip(kind.signature(), columns.parts(drawn))}


def costs(programs: list[Callable[..., Tensor]], task: Task) -> list[Cost]:
    """Of programs that take the columns in order, measured in this process in turns."""

    def asked_with_names(program: Callable[..., Tensor]) -> Callable[[dict[str, np.ndarray]], Any]:
        return lambda inputs: program(*(torch.from_numpy(value) for value in inputs.values()))

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.no_grad():
            ends = predict.latencies([asked_with_names(one) for one in programs], example(task))
    finally:
        torch.set_num_threads(before)
    return [Cost(**one, threads=THREADS) for one in ends]


def peak_memory_of_onnx(path: Path, task: Task) -> float | None:
    """In MB, of a Python process that asks the file with onnxruntime and numpy alone; None where it does not come to
    its end."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **example(task))  # type: ignore[arg-type]
        command = [sys.executable, "-I", predict.__file__, str(path), str(inputs), "--measure"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            return float(json.loads(done.stdout)["peak_memory_mb"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError):
            return None
