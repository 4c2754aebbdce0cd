"""Distils a network that exists only in this program, without data. Runs in under a minute on a CPU.

python examples/distill_from_python.py [OUT]      OUT: the run directory, must not exist (default: example-run)

The teacher has random weights, so that nothing needs to be downloaded: load your own where the comment says so.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: waiting threads sleep

import torch
from torch import nn

import sansdata


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


def main(out: str, budget: str = "300steps") -> sansdata.Result:
    torch.manual_seed(0)
    big = network(32)  # your trained network: big.load_state_dict(...)
    task = sansdata.ImageTask(shape=(1, 8, 8), classes=10, mean=(0.305,), std=(0.376,))
    teacher = sansdata.Teacher.from_module(big, task)

    verdict = sansdata.check(teacher)
    print("warnings:", *(verdict["warnings"] or ["none"]))

    result = sansdata.distill(
        teacher,
        student=network(8),
        method="fm",
        preset="small",
        budget=budget,
        out=out,
        strict=True,
        options={"view": "crop", "transfer": {"lr": 0.1}},
        settings={"threads": 1},
    )
    print(f"agreement on generated samples: {result.summary['agreement']['last']:.1%}")
    print(f"images made: {result.cost['samples']:,}, images the teacher answered: {result.cost['teacher_forwards']:,}")

    logits = result.model(torch.rand(4, 1, 8, 8))  # images in 0..1; it normalises inside
    print("classes:", logits.argmax(1).tolist())

    file = sansdata.export(result, to="pt2")
    print(f"exported: {file.file}, logits differ by {file.max_abs_difference:.1e} at most")
    return result


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "example-run")
