"""What generators of the recipes are measured against: points of a ring, whose distribution is known, and handwritten
digits, in the features of a small classifier."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from ..datasets.images import load_images
from ..errors import DataError
from ..evaluate.generators import class_shares, features, measured
from ..figures import values
from ..files import write_atomic
from ..models.diffusion.mixture import ring
from ..objectives.point_sets import sliced_wasserstein
from ..tasks import Task, load_task
from ..teachers.specs import load_teacher
from .teachers import cache

NEAR = 3.0
"""Deviations from a centre within which a point belongs to it."""


@dataclass(frozen=True)
class Judged:
    """noise: that of the test. draw: noise -> samples. reference: the teacher's samples of it, in many steps."""

    noise: Tensor
    draw: Callable[[Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]
    seed: int


class Domain(Protocol):
    count: int
    """Samples of a test."""
    reference: int
    """Steps of the teacher's sampler to which samples are compared."""

    def teacher(self, task: Task) -> str:
        """The spec of the teacher."""
        ...

    def judge(self, judged: Judged) -> dict[str, float]:
        """Measures by name."""
        ...


class Ring:
    """Eight Gaussians and their exact denoiser."""

    count, reference = 4000, 400

    def teacher(self, task: Task) -> str:
        path = cache() / "ring.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save({name: value.contiguous() for name, value in ring().state_dict().items()}))
        return f"ring@{path}"

    def judge(self, judged: Judged) -> dict[str, float]:
        """SW: sliced Wasserstein to fresh points of the mixture. on mode: percent within three deviations of a centre.
        modes: with one in a hundred of what they should have. mode TV: total variation of their shares. paired RMSE:
        root mean squared distance from the teacher's point of the same noise."""
        mixture = ring()
        made = judged.draw(judged.noise)
        data = mixture.data(self.count, torch.Generator().manual_seed(judged.seed))
        far = torch.cdist(made, mixture.centres.detach()).min(1)
        on = far.values < NEAR * float(mixture.spread.detach())
        shares = torch.bincount(far.indices[on], minlength=8).float()
        shares = shares / shares.sum().clamp_min(1)
        weights = mixture.weights.detach()
        return {
            "SW": float(sliced_wasserstein(made, data)),
            "paired RMSE": math.sqrt(2) * _rmse(made, judged.reference(judged.noise)),
            "on mode": 100 * float(on.float().mean()),
            "modes": float((shares > 0.01 * weights).sum()),
            "mode TV": 0.5 * float((shares - weights).abs().sum()),
        }


class Digits:
    """Handwritten digits and a public DDPM of them; the judge is a public LeNet-5 (98.91 % of the test set), which has
    nothing to do with it."""

    count, reference, paired = 1000, 25, 200
    file, judging = "checkpoints/ddpm_mnist/ddpm_mnist_lin.pth", "checkpoints/kegnet_mnist/mnist.pth.tar"
    judge_name = "KegNet's LeNet-5 of MNIST"

    def teacher(self, task: Task) -> str:
        return f"plain-ddpm@{below_root(self.file)}"

    def judge(self, judged: Judged) -> dict[str, float]:
        """FD and KD: Frechet and kernel distance to the test set; precision, recall, coverage and the rarest class in
        percent; paired error: root mean squared difference from the
        teacher's own of the first noises, of the range."""
        task = load_task("mnist-32")
        network, head = load_teacher(f"lenet5@{below_root(self.judging)}", task).network, "fc2"
        made = judged.draw(judged.noise)
        real = torch.from_numpy(load_images("mnist", task, "test").images).permute(0, 3, 1, 2).float().div(255)
        ours = F.interpolate(made.add(0.5).clamp(0, 1), (32, 32), mode="bilinear", align_corners=False)
        (seen, said), (theirs, answers) = features(network, head, real), features(network, head, ours)
        found = values(measured(seen, theirs, answers, self.judge_name, class_shares(said)))
        return {
            "FD": found["frechet_distance"], "KD": found["kernel_distance"],
            **{name: 100 * found[name] for name in ("precision", "recall", "coverage")}, "density": found["density"],
            "rarest class": 100 * found["least_class"],
            "paired error": _rmse(made[: self.paired], judged.reference(judged.noise[: self.paired])),
        }  # fmt: skip


def below_root(name: str) -> Path:
    """A file below SANSDATA_DATA. Raises DataError where it is not there."""
    root = os.environ.get("SANSDATA_DATA")
    path = Path(root or ".") / name
    if not path.is_file():
        raise DataError(f"the recipe's {name} is not below SANSDATA_DATA ({root or 'not set'})")
    return path


DOMAINS: dict[str, Callable[[], Domain]] = {"ring": Ring, "mnist-generator": Digits}


def domain_of(name: str) -> Domain:
    return DOMAINS[name]()


def _rmse(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())
