"""Training at a client on its own images: what every method's client shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Losses, Outputs
from ..errors import DivergedError
from ..network import Network
from ..objectives.logits import cross_entropy
from ..runtime import Runtime
from ..streams import Streams
from ..synthesis.augment import Augment, augment
from ..tasks import Task
from .data import ClientData


class LocalSettings(Strict):
    """steps: mini-batches per round; `epochs` above 0 takes the place of steps. lr falls by lr_decay per round."""

    steps: int = pydantic.Field(default=20, ge=1)
    epochs: int = pydantic.Field(default=0, ge=0)
    batch: int = pydantic.Field(default=32, ge=1)
    lr: float = pydantic.Field(default=0.01, gt=0)
    lr_decay: float = pydantic.Field(default=0.99, gt=0, le=1)
    momentum: float = pydantic.Field(default=0.0, ge=0, lt=1)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    clip: float | None = pydantic.Field(default=None, gt=0)
    view: Augment = "none"

    def steps_for(self, images: int) -> int:
        """Mini-batches of a round for a client with so many images."""
        return self.epochs * ceil_div(images, self.batch) if self.epochs else self.steps

    def lr_at(self, round: int) -> float:
        return self.lr * self.lr_decay**round

    def reach(self, images: int, round: int) -> float:
        """How far a gradient of length 1 that never turns moves a weight in a round: rate times steps, and with
        momentum m the sum over steps i = 1..n of (1 - m^i) / (1 - m), which a step goes on to count for."""
        steps, m = self.steps_for(images), self.momentum
        return (steps - m * (1 - m**steps) / (1 - m)) / (1 - m) * self.lr_at(round)


AddTerms = Callable[[Losses, Tensor, Tensor, Outputs], None]
"""(losses, images (B, C, H, W) in unit space, labels (B,), the model's outputs on them): adds a method's own terms."""


@dataclass
class LocalTraining:
    """One client's training in one round. model: changed in place; `statistics`: whether BatchNorm's may move."""

    model: nn.Module
    task: Task
    runtime: Runtime
    settings: LocalSettings
    statistics: bool = True

    def run(
        self,
        data: ClientData,
        round: int,
        streams: Streams,
        add_terms: AddTerms | None = None,
        correct: Callable[[], None] | None = None,
    ) -> Tensor:
        """Cross-entropy on the client's images and what `add_terms` adds; `correct` may change the gradients.

        Gives (K,) int32, how many images of each class were trained on. Raises DivergedError.
        """
        settings, place = self.settings, self.runtime.place
        optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=settings.lr_at(round),
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.model.train()
        if not self.statistics:
            freeze_statistics(self.model)
        label_counts = torch.zeros(self.task.classes, dtype=torch.int64)
        with streams.as_global("model"):
            for images, labels in data.batches(settings.steps_for(len(data)), settings.batch, streams("batches")):
                label_counts += torch.bincount(labels, minlength=self.task.classes)
                inputs, targets = place(augment(images, settings.view, streams("view"))), place(labels)
                outputs = self.runtime.forward(Network.of(self.model, self.task), inputs)
                losses = Losses()
                losses.add("ce", 1, lambda outputs=outputs, targets=targets: cross_entropy(outputs.logits, targets))
                if add_terms is not None:
                    add_terms(losses, inputs, targets, outputs)
                total = losses.total()
                total.backward()
                if correct is not None:
                    correct()
                self.runtime.step(optimizer, settings.clip)
        if not bool(torch.isfinite(total)):
            raise DivergedError("the client's loss is not finite; lower local.lr or set local.clip=10")
        return label_counts.to(torch.int32)


def freeze_statistics(module: nn.Module) -> None:
    """BatchNorm layers use their running statistics and do not move them; their weights still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
