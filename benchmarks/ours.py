"""Our side: an FM session, whose next move is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from sansdata.engine.session import Session
from sansdata.methods.fm import FM
from sansdata.methods.index import method_config
from sansdata.models.build import architecture_of, build
from sansdata.runtime import keep_freed_memory, make_runtime
from sansdata.synthesis.augment import Augment
from sansdata.synthesis.pooled import keep
from sansdata.tasks import KNOWN_TASKS, ImageTask
from sansdata.teachers.base import Teacher

TEACHER, STUDENT = "resnet56", "resnet20"
K = 5
"""Inner steps of a synthesis round."""


def settled(name: str, task: ImageTask) -> nn.Module:
    """A network with random weights whose BatchNorm layers know a batch of noise, so that no value grows too large."""
    network = build(architecture_of(name, task))
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(8, *task.shape))
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1
    return network


@dataclass(frozen=True)
class Size:
    """What the cost depends on. image: pixels a side; batch: images a round and a step; width: of the generator."""

    image: int = 32
    batch: int = 256
    width: int = 64
    classes: int = 10

    @property
    def task(self) -> ImageTask:
        cifar = KNOWN_TASKS["cifar10"]
        return ImageTask(shape=(3, self.image, self.image), classes=self.classes, mean=cifar.mean, std=cifar.std)


class Ours:
    """A session of FM with random networks: their cost does not depend on what they have learned."""

    def __init__(
        self,
        size: Size,
        view: Augment = "none",
        pair: tuple[str, str] = (TEACHER, STUDENT),
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        keep_freed_memory(device)  # as the command does
        torch.manual_seed(0)
        teacher, student = (settled(name, size.task) for name in pair)
        options = {
            "k": K, "width": size.width, "batch": size.batch, "warmup_rounds": 0, "view": view,
            "transfer": {"batch": size.batch},
        }  # fmt: skip
        self.session = Session(
            FM, method_config("fm", "default", options), Teacher.from_module(teacher, size.task), student, size.task,
            make_runtime(device, precision),
        )  # fmt: skip
        self.size, self.view = size, view

    def fill(self) -> None:
        """One batch of random images into the pool, so that a transfer step can be measured by itself."""
        images = torch.rand(self.size.batch, *self.size.task.shape)
        targets = torch.randint(self.size.classes, (self.size.batch,))
        keep(self.session.method.pool, images, targets, self.session.context, self.view)  # type: ignore[attr-defined]

    def synthesise(self) -> None:
        self._move(0)

    def transfer(self) -> None:
        self._move(1)

    def _move(self, transfers_left: int) -> None:
        self.session.method.schedule["transfers_left"] = transfers_left  # type: ignore[attr-defined]
        self.session.move()
