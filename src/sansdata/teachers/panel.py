"""A panel: several classifiers with label sets, networks and preprocessing of their own, together a teacher.

Each of its APIs is a Teacher of images and classes. What one of them calls its first answer has a name, and the names
are the panel's global class ids: two APIs that name a class alike mean the same. Their answers cannot be set beside one
another, so that the panel's task is one of `ways`, and only methods that ask the APIs one by one can learn from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Access, Counters, Outputs
from ..errors import TeacherError
from ..kinds.inputs.image import Normalise
from ..network import Network
from ..tasks import ImageSpec, PairTask, WaysSpec
from .base import Teacher

CAPABILITY = "panel"
QUERIES = "queries of "
"""Begins the name of the counter of each API's own queries."""


@dataclass(frozen=True)
class Api:
    """One classifier of a panel. classes: a global class id for each of its answers, in their order."""

    name: str
    teacher: Teacher
    classes: tuple[str, ...]

    @property
    def pixels(self) -> Normalise:
        """Its own door: from unit space to what it takes."""
        door = self.teacher.network.preprocessor
        assert isinstance(door, Normalise), "an API of a panel reads images"
        return door

    def __call__(self, images: Tensor) -> Outputs:
        """images (B, C, H, W) in unit space, of any size: enlarged or shrunk to its own -> logits (B, N)."""
        return self.teacher(self.fitted(images))

    def fitted(self, images: Tensor) -> Tensor:
        """images in the size that it takes (bilinear)."""
        size = self.teacher.task.shape[1:]
        if tuple(images.shape[2:]) == tuple(size):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)


class Panel(Teacher):
    """Asked as a whole, which is done only to see that all of it works, it gives the mean of its APIs' logits."""

    apis: tuple[Api, ...]

    def __init__(
        self,
        apis: Sequence[Api],
        shape: tuple[int, int, int],
        mean: Sequence[float],
        std: Sequence[float],
        most: Access = Access.SCORES,
        source: str = "a panel in Python",
        sha256: str | None = None,
    ) -> None:
        """shape, mean, std: of the images that are made for the panel, and of its student. most: how far methods may
        look into the APIs, whatever these would allow; GRADIENTS at most, since an API has no part that all share.

        Raises TeacherError where the APIs do not make a panel.
        """
        _check(apis, shape[0])
        self.apis = tuple(apis)
        task = PairTask(
            inputs=ImageSpec(shape=shape), outputs=WaysSpec(classes=len(apis[0].classes)),
            preprocessing={"mean": list(mean), "std": list(std)},
        )  # fmt: skip
        look = min([Access.GRADIENTS, most, *(api.teacher.most for api in apis)])
        module = _Together(self.apis, Network.of(nn.Identity(), task).preprocessor)
        super().__init__(module.eval(), task, None, source, sha256, most=look, capabilities={CAPABILITY: self})

    @property
    def members(self) -> tuple[Teacher, ...]:
        return (self, *(api.teacher for api in self.apis))

    @property
    def classes(self) -> tuple[str, ...]:
        """The global class ids, in the order in which the APIs name them."""
        return tuple(dict.fromkeys(name for api in self.apis for name in api.classes))

    def helped_by(self, helpers: Sequence[Teacher]) -> Teacher:
        """Raises TeacherError: what else is to be asked is one of its APIs."""
        raise TeacherError("a panel has no helpers: name what else is to be asked among its `apis`")

    def count_into(self, counters: Counters) -> None:
        """All queries are counted there, and those of each API under its name besides."""
        self.counters = counters
        for api in self.apis:
            api.teacher.counters = _Tally(counters, api.name)


class _Tally(Counters):
    """What one API was asked, in counters that it shares with the others."""

    def __init__(self, shared: Counters, name: str) -> None:
        super().__init__()
        self.shared, self.name = shared, name

    def add(self, name: str, amount: float) -> None:
        self.shared.add(name, amount)
        if name == "teacher_forwards":
            self.shared.add(f"{QUERIES}{self.name}", amount)


class _Together(nn.Module):
    """All APIs at once: what a panel's door gives -> the mean of their logits (B, N)."""

    def __init__(self, apis: Sequence[Api], door: object) -> None:
        super().__init__()
        assert isinstance(door, Normalise)
        self.parts = nn.ModuleList(api.teacher.module for api in apis)
        self._apis, self._door = tuple(apis), door

    def forward(self, taken: Tensor) -> Tensor:
        images = self._door.undo(taken)
        return torch.stack([api.teacher.network(api.fitted(images)).value for api in self._apis]).mean(0)


def _check(apis: Sequence[Api], channels: int) -> None:
    if not apis:
        raise TeacherError("a panel needs at least one API")
    names = [api.name for api in apis]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TeacherError(f"two APIs of the panel are called '{twice[0]}': give each a name of its own")
    for api in apis:
        where, task = f"API '{api.name}'", api.teacher.task
        if task.pair != ("image", "classes"):
            raise TeacherError(f"{where} is a model of {' x '.join(task.pair)}; a panel is of images and classes")
        if len(api.classes) != task.classes or len(set(api.classes)) != len(api.classes):
            raise TeacherError(
                f"{where} answers with {task.classes} classes and the panel names {len(api.classes)}: each answer "
                "needs one name, and no name twice"
            )
        if len(api.classes) != len(apis[0].classes):
            raise TeacherError(
                f"{where} has {len(api.classes)} classes and '{apis[0].name}' has {len(apis[0].classes)}: the student "
                "has one answer for each way, so that all APIs of a panel must have as many"
            )
        if task.shape[0] != channels:
            raise TeacherError(f"{where} takes {task.shape[0]} channel(s) and the panel's images have {channels}")
