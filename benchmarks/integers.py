"""How much faster INT8 is than FP32, in turns, one thread: python benchmarks/integers.py [NETWORK...]

ONNX files of zoo networks with random weights for 3x32x32 images (the time does not depend on what they learned), at
one image and at 32. INT8 ranges come from noise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sansdata
from sansdata.deploy.export import export
from sansdata.deploy.predict import Model, latencies
from sansdata.models.build import architecture_of, build
from sansdata.tasks import load_task

NETWORKS = ("resnet8", "resnet20", "resnet56", "wrn-16-2")
PASSES = 40
"""In turns; the medians are compared."""


def main(names: list[str]) -> None:
    task = load_task("cifar10")
    print(f"{'network':<10} {'images':>6} {'FP32 ms':>9} {'INT8 ms':>9} {'times':>6} {'of its bytes':>13}")
    for name in names:
        module = build(architecture_of(name, task)).eval()
        with tempfile.TemporaryDirectory() as folder:
            plain, integers = Path(folder) / "plain.onnx", Path(folder) / "integers.onnx"
            export(module, task, plain)
            sansdata.to_int8(module, integers, "noise", task=task)
            programs = [runner(plain), runner(integers)]
            share = integers.stat().st_size / plain.stat().st_size
            for count in (1, 32):
                before, after = (one["p50"] for one in latencies([some(one, count) for one in programs], {}, PASSES))
                print(f"{name:<10} {count:>6} {before:>9.2f} {after:>9.2f} {before / after:>6.2f} {share:>13.1%}")


def runner(path: Path) -> Model:
    return Model(path, threads=1)


def some(model: Model, count: int) -> Callable[[dict[str, np.ndarray]], Any]:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    return lambda _: model({next(iter(model.arguments)): images})


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
