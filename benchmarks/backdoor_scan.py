"""Does the scan of `sansdata audit --scan` find backdoors, and let sound networks pass? Small CNNs of MNIST.

    python benchmarks/backdoor_scan.py [--steps 300] [--natural] [--forms patch overlay] [--only NAME ...] [--json FILE]

Trains a network for each of five triggers (a tenth of the training images, all to class 0) and five sound ones of other
seeds, and scans each on uniform noise as carriers, or, with --natural, on test images. Needs SANSDATA_DATA with mnist.
Never part of the tests: it takes about ten minutes on a core.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor, nn

from sansdata.audit.attacks import find_attack, poison
from sansdata.audit.triggers import anomaly_index, scan, suspected
from sansdata.datasets.images import load_images
from sansdata.datasets.imageset import ImageSet, pick

TRIGGERS = ("badnets-grid", "badnets-square", "trojan-patch", "blend", "sinusoid")
SOUND = 5
TRAINING, TARGET = 12_000, 0


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10),
    )  # fmt: skip


def unit(data: ImageSet) -> Tensor:
    return torch.from_numpy(data.images.transpose(0, 3, 1, 2).copy()).float().div(255)


def trained(module: nn.Module, data: ImageSet, seed: int, steps: int = 500) -> nn.Module:
    images, labels = unit(data), torch.from_numpy(data.labels)
    optimiser, stream = torch.optim.Adam(module.train().parameters(), 2e-3), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(0, len(images), (64,), generator=stream)
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images[ids] - 0.5), labels[ids]).backward()
        optimiser.step()
    return module.eval().requires_grad_(False)


def judged(
    module: nn.Module, test: ImageSet, carriers: Tensor, natural: bool, steps: int, forms: list[Any]
) -> dict[str, Any]:
    """Accuracy, and of both forms of scan the class of the smallest trigger, its ratio and index, who is suspect."""

    def ask(images: Tensor) -> Tensor:
        return module(images - 0.5)

    with torch.no_grad():
        accuracy = float((ask(unit(test)).argmax(1).numpy() == test.labels).mean())
    found: dict[str, Any] = {"accuracy": accuracy}
    for form in forms:
        several = scan(ask, carriers, 10, form, steps)
        sizes = np.array([one.size for one in several])
        found[form] = {
            "first": several[int(sizes.argmin())].target, "ratio": float(sizes.min() / np.median(sizes)),
            "index": anomaly_index(sizes), "suspect": sorted(suspected(several, form, natural)),
            "sizes": {one.target: round(one.size, 2) for one in several},
            "success": {one.target: round(one.success, 3) for one in several},
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--natural", action="store_true")
    parser.add_argument("--forms", nargs="+", choices=("patch", "overlay"), default=["patch", "overlay"])
    parser.add_argument("--only", nargs="+", default=[], help="some of the networks, such as blend or 'sound 0'")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole, test = load_images("mnist", split="train"), load_images("mnist")
    _, index = pick(whole.labels, TRAINING, 0)
    data = whole.subset(index, "some")
    _, few = pick(test.labels, 256, 0)
    noise = torch.rand(256, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    carriers = unit(test.subset(few, "carriers")) if given.natural else noise
    results: dict[str, Any] = {}
    for place, name in enumerate([*TRIGGERS, *(f"sound {n}" for n in range(SOUND))]):
        if given.only and name not in given.only:
            continue
        started = time.perf_counter()
        sound = name.startswith("sound")
        poisoned = data if sound else poison(data, find_attack(name), TARGET, 0.1)
        module = trained(network(place), poisoned, place)
        results[name] = judged(module, test, carriers, given.natural, given.steps, given.forms)
        print(f"{name:<16} accuracy {results[name]['accuracy']:.4f}  {time.perf_counter() - started:.0f} s")
        for form in given.forms:
            shown = {key: results[name][form][key] for key in ("first", "ratio", "index", "suspect")}
            print(f"  {form:<8} {json.dumps(shown)}", flush=True)
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
