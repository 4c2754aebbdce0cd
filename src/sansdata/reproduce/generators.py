"""What generators of the recipes are measured against: points of a ring, whose distribution is known, and handwritten
digits, in the features of a small classifier of our own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..datasets.images import holdout, load_images
from ..errors import DataError
from ..evaluate.generators import measured
from ..figures import values
from ..files import write_atomic
from ..models.build import architecture_of, build
from ..models.diffusion.nets import ring
from ..network import Network
from ..objectives.point_sets import sliced_wasserstein
from ..tasks import Task, load_task
from .supervised import train
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
    """Handwritten digits, a public DDPM of them, and as judge a LeNet-5 of ours, which learnt the training half."""

    count, reference, real = 2000, 50, 10_000
    file, judge_epochs, held_out = "checkpoints/ddpm_mnist/ddpm_mnist_lin.pth", 3, 5000
    judge_name = "a LeNet-5 of MNIST"

    def teacher(self, task: Task) -> str:
        root = os.environ.get("SANSDATA_DATA")
        path = Path(root or ".") / self.file
        if not path.is_file():
            raise DataError(f"the recipe's teacher {self.file} is not below SANSDATA_DATA ({root or 'not set'})")
        return f"plain-ddpm@{path}"

    def judge(self, judged: Judged) -> dict[str, float]:
        """FD and KD: Frechet and kernel distance to the test set; precision, recall, coverage and the rarest class in
        percent; paired error: root mean squared difference from the teacher's own, of the range."""
        task = load_task("mnist")
        network = self._judge(task)
        made = judged.draw(judged.noise)
        images = torch.from_numpy(load_images("mnist", task, "test").images).permute(0, 3, 1, 2)
        real, _ = features(network, images.float().div(255)[: self.real])
        ours, answers = features(network, made.add(0.5).clamp(0, 1))
        found = values(measured(real, ours, answers, self.judge_name))
        return {
            "FD": found["frechet_distance"], "KD": found["kernel_distance"],
            **{name: 100 * found[name] for name in ("precision", "recall", "coverage")}, "density": found["density"],
            "rarest class": 100 * found["least_class"],
            "paired error": _rmse(made, judged.reference(judged.noise)),
        }  # fmt: skip

    def _judge(self, task: Task) -> Network:
        path = cache() / f"mnist-judge-lenet5-{self.judge_epochs}.safetensors"
        if not path.is_file():
            learnt, _ = holdout(load_images("mnist", task, "train"), self.held_out, seed=0)
            module = train("lenet5", learnt, task, self.judge_epochs, view="none")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, save({name: value.contiguous() for name, value in module.state_dict().items()}))
        module = build(architecture_of("lenet5", task))
        module.load_state_dict(load_file(path))
        return Network.of(module.eval(), task)


@torch.no_grad()
def features(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """(what enters the judge's last linear layer (N, D), its logits (N, K)) of images in unit space."""
    head = [path for path, part in network.module.named_modules() if isinstance(part, torch.nn.Linear)][-1]
    outputs = [network(part, [f"{head}:input"]) for part in images.split(1000)]
    return torch.cat([one.taps[f"{head}:input"] for one in outputs]), torch.cat([one.logits for one in outputs])


DOMAINS: dict[str, Callable[[], Domain]] = {"ring": Ring, "mnist-generator": Digits}


def domain_of(name: str) -> Domain:
    return DOMAINS[name]()


def _rmse(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())
