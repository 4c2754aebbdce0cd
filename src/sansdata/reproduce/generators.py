"""What generators of the recipes are measured against: points of a ring, whose distribution is known, and pictures of
digits and clothes, in the features of a small classifier."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..api.judge import seen_by
from ..datasets.images import holdout, load_images
from ..evaluate.generators import class_shares, features, measured
from ..figures import values
from ..models.diffusion.mixture import ring
from ..objectives.point_sets import sliced_wasserstein
from ..tasks import Task, load_task
from ..teachers.specs import load_teacher
from .denoisers import ensure_denoiser
from .supervised import train
from .teachers import below_root, cache, keep_weights

RANGE = (-0.5, 0.5)
"""Of the pictures that both denoisers learnt."""
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

    count, reference, points = 4000, 400, 40_000

    def teacher(self, task: Task) -> str:
        path = cache() / "ring.safetensors"
        keep_weights(path, ring())
        return f"ring@{path}"

    def judge(self, judged: Judged) -> dict[str, float]:
        """SW: sliced Wasserstein to ten times as many fresh points. on mode: percent within three deviations of a
        centre. modes: with one in a hundred of what they should have. mode TV: total variation of their shares. paired
        RMSE: root mean squared distance from the teacher's point of the same noise."""
        mixture = ring()
        made = judged.draw(judged.noise)
        data = mixture.data(self.points, torch.Generator().manual_seed(judged.seed))
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


class Pictures(ABC):
    """Small pictures of known classes, whose teacher and judge are files that have nothing to do with each other."""

    count, reference, paired = 1000, 25, 200
    data: str
    judged_as: str
    """The judge's task."""
    judge_name: str

    @abstractmethod
    def teacher(self, task: Task) -> str:
        """The spec of the teacher."""

    @abstractmethod
    def judging(self, task: Task) -> str:
        """The spec of the judge."""

    def judge(self, judged: Judged) -> dict[str, float]:
        """FD and KD: Frechet and kernel distance to the test set; precision, recall, coverage and the rarest class in
        percent; paired error: root mean squared difference from the teacher's own of the first noises, of the range."""
        task = load_task(self.judged_as)
        judge = load_teacher(self.judging(task), task)
        head = str(judge.inside.head)
        made = judged.draw(judged.noise)
        images = torch.from_numpy(load_images(self.data, task, "test").images).permute(0, 3, 1, 2)
        seen, classes = features(judge.network, head, images.float().div(255))
        theirs, answers = features(judge.network, head, seen_by(task, made, RANGE))  # type: ignore[arg-type]
        figures = values(measured(seen, theirs, answers, self.judge_name, class_shares(classes)))
        return {
            "FD": figures["frechet_distance"], "KD": figures["kernel_distance"],
            **{name: 100 * figures[name] for name in ("precision", "recall", "coverage")},
            "density": figures["density"], "rarest class": 100 * figures["least_class"],
            "paired error": _rmse(made[: self.paired], judged.reference(judged.noise[: self.paired])),
        }  # fmt: skip


class Digits(Pictures):
    """Handwritten digits and a public DDPM of them; the judge is a public LeNet-5 (98.91 % of the test set)."""

    data, judged_as, judge_name = "mnist", "mnist-32", "KegNet's LeNet-5 of MNIST"

    def teacher(self, task: Task) -> str:
        return f"plain-ddpm@{below_root('checkpoints/ddpm_mnist/ddpm_mnist_lin.pth')}"

    def judging(self, task: Task) -> str:
        return f"lenet5@{below_root('checkpoints/kegnet_mnist/mnist.pth.tar')}"


class Clothes(Pictures):
    """Fashion-MNIST: a denoiser and a judge that we train, on the same training images without those held out."""

    data, judged_as, judge_name = "fashion-mnist", "fashion-mnist", "a ResNet-8 of Fashion-MNIST"
    held_out, steps, epochs = 5000, 6000, 3

    def teacher(self, task: Task) -> str:
        network = "picture-denoiser"
        return f"{network}@{ensure_denoiser(self.data, task, network, self.steps, self.held_out)}"

    def judging(self, task: Task) -> str:
        path = cache() / f"{self.data}-judge-resnet8-{self.epochs}.safetensors"
        if not path.is_file():
            learnt, _ = holdout(load_images(self.data, task, "train"), self.held_out, seed=0)
            module = train("resnet8", learnt, task, self.epochs)
            keep_weights(path, module)
        return f"resnet8@{path}"


DOMAINS: dict[str, Callable[[], Domain]] = {"ring": Ring, "mnist-generator": Digits, "fashion-mnist-generator": Clothes}


def domain_of(name: str) -> Domain:
    return DOMAINS[name]()


def _rmse(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())
