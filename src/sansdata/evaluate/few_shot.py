"""A meta model on few-shot tasks of classes that it never saw: adapted to a few labelled images, then asked about
others. Beside random weights of the same network, adapted in the same way on the same tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic
import torch
from torch import Tensor, nn

from ..config import Strict
from ..datasets.imageset import ImageSet
from ..errors import ConfigError, DataError, did_you_mean
from ..figures import Figure
from ..models.at_weights import StudentAt
from ..models.copying import duplicate
from ..models.initial_weights import draw_everything
from ..models.modes import in_mode
from ..network import Network
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task
from ..training.adaptation import Inner, few_shot_accuracy
from .labelled import Evaluation


class FewShotSettings(Strict):
    """tasks: how many. shots, queries: images of each class to learn from, and to be asked about. steps, rate: of the
    adaptation, plain gradient steps. classes: of the set, by name; empty is all. seed: of the tasks and of the random
    weights. Defaults are BiDf-MKD's."""

    tasks: int = pydantic.Field(default=600, ge=2, le=100_000)
    shots: int = pydantic.Field(default=5, ge=1)
    queries: int = pydantic.Field(default=15, ge=1)
    steps: int = pydantic.Field(default=10, ge=0)
    rate: float = pydantic.Field(default=0.01, gt=0)
    classes: tuple[str, ...] = ()
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)

    @pydantic.field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, names: Any) -> Any:
        return [str(name) for name in names] if isinstance(names, (list, tuple)) else names


class Episodes:
    """Tasks drawn from a labelled set. Raises DataError where it has too few classes, or too few images of one."""

    def __init__(self, data: ImageSet, ways: int, settings: FewShotSettings) -> None:
        self.data, self.ways, self.settings = data, ways, settings
        names = settings.classes or data.class_names
        if unknown := [name for name in names if name not in data.class_names]:
            raise ConfigError(
                f"few-shot classes: '{unknown[0]}' is no class of {data.source}. "
                f"{did_you_mean(unknown[0], data.class_names[:200])}"
            )
        known = [(name, np.flatnonzero(data.labels == data.class_names.index(name))) for name in dict.fromkeys(names)]
        self.places = [places for _, places in known if len(places)]
        if len(self.places) < ways:
            raise DataError(f"{data.source}: {len(self.places)} classes with images, and a task takes {ways}")
        need = settings.shots + settings.queries
        name, fewest = min(((name, len(places)) for name, places in known if len(places)), key=lambda one: one[1])
        if fewest < need:
            raise DataError(
                f"{data.source}: class '{name}' has {fewest} images, and a task takes {settings.shots} + "
                f"{settings.queries} of each class; ask for fewer shots or queries"
            )

    @property
    def count(self) -> int:
        """How many images the tasks are drawn from."""
        return sum(len(places) for places in self.places)

    def draw(self, number: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Task `number`: (support, query), each images float32 (B, C, H, W) in 0..1 with their ways (B,)."""
        settings = self.settings
        streams = Streams(settings.seed)
        streams.begin(number)
        generator = streams("episodes")
        support, query = [], []
        for one in torch.randperm(len(self.places), generator=generator)[: self.ways].tolist():
            order = torch.randperm(len(self.places[one]), generator=generator).numpy()
            support.append(self.places[one][order[: settings.shots]])
            query.append(self.places[one][order[settings.shots : settings.shots + settings.queries]])
        return self._images(support, settings.shots), self._images(query, settings.queries)

    def _images(self, places: Sequence[np.ndarray], each: int) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(self.data.images[np.concatenate(places)])
        ways = torch.arange(self.ways).repeat_interleave(each)
        return images.permute(0, 3, 1, 2).contiguous().float().div_(255), ways


def evaluate_few_shot(
    network: Network, task: Task, data: ImageSet, settings: FewShotSettings, runtime: Runtime
) -> Evaluation:
    """Figures with 95 % intervals over the tasks: of the network, of random weights, and of the difference by task.

    BatchNorm works with the statistics of the images at hand, support then query, as in the papers: a query set is
    answered as a whole. The network is left as it was.
    """
    episodes = Episodes(data, task.classes, settings)
    fresh = random_start(network.module, settings.seed)
    own = accuracies(network, episodes, runtime)
    random = accuracies(network.around(fresh), episodes, runtime)
    figures = (
        _figure("few_shot_accuracy", own, "mean over the tasks of the share that is right", "higher"),
        _figure("random_start_accuracy", random, "the same network from random weights, on the same tasks", ""),
        _figure("gain", own - random, "of the first over the second, task by task", "higher"),
    )
    form = f"{settings.tasks} tasks, {task.classes}-way {settings.shots}-shot"
    chosen = f", classes {', '.join(settings.classes)}" if settings.classes else ""
    return Evaluation(episodes.count, figures, data.class_names, f"{data.source}, {form}{chosen}", data.notes)


def accuracies(network: Network, episodes: Episodes, runtime: Runtime) -> np.ndarray:
    """(tasks,) the share 0..1 of each task's query that is named rightly."""
    inner = Inner(episodes.settings.steps, episodes.settings.rate)
    student = StudentAt(
        lambda module, inputs: runtime.forward(network.around(module), inputs), runtime.place(network.module)
    )
    shares = []
    with in_mode(network.module, train=True):
        for number in range(episodes.settings.tasks):
            support, query = ((runtime.place(images), runtime.place(ways)) for images, ways in episodes.draw(number))
            shares.append(few_shot_accuracy(student, support, query, inner))
    return np.array(shares)


def random_start(module: nn.Module, seed: int) -> nn.Module:
    """A copy with fresh weights, as each layer draws its own; of what was learnt nothing stays."""
    copied = duplicate(module)
    with Streams(seed).as_global("random start"):
        draw_everything(copied)
    return copied


def _figure(name: str, values: np.ndarray, meaning: str, better: Any) -> Figure:
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Figure(name, mean, "share", meaning, better, (mean - half, mean + half))
