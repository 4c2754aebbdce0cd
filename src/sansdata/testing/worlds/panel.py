"""The world of methods that ask several APIs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from ...config import dump_yaml
from ...models.build import architecture_of
from ...models.saved import write_model
from ...tasks import (
    ImageSpec,
    ImageTask,
    PairTask,
    WaysSpec,
)
from ...teachers.base import Teacher
from ...teachers.panel import Api, Panel
from .base import World


@dataclass(frozen=True)
class PanelWorld(World):
    """Two classifiers that share one of their classes: the world of methods that ask several APIs."""

    small: ClassVar[str] = "conv4"
    labels: ClassVar[tuple[tuple[str, ...], ...]] = (("a", "b", "c"), ("c", "d", "e"))

    def api(self, number: int) -> nn.Module:
        task = _api_task()
        return copy.deepcopy(World(task, self.network)._made(0.25, number))

    def teacher(self) -> Panel:
        task = _api_task()
        apis = [
            Api(f"api{number}", Teacher.from_module(self.api(number), task), names)
            for number, names in enumerate(self.labels)
        ]
        return Panel(apis, task.shape, task.mean, task.std)

    def save(self, path: Path) -> None:
        """A file for each API and the panel's, beside one another."""
        task, apis = _api_task(), []
        for number, names in enumerate(self.labels):
            file = path.with_name(f"{path.stem}-{number}.safetensors")
            architecture = architecture_of(self.network, task)
            architecture["args"]["scale"] = 0.25
            write_model(file, self.api(number), architecture, task, {})
            apis.append({"name": f"api{number}", "teacher": file.name, "classes": list(names)})
        panel = {"shape": list(task.shape), "mean": list(task.mean), "std": list(task.std), "apis": apis}
        path.with_suffix(".yaml").write_text(dump_yaml(panel))

    def spec(self, path: Path) -> str:
        return str(path.with_suffix(".yaml"))


def _api_task() -> ImageTask:
    return ImageTask(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,))


def make_panel_task() -> PairTask:
    task = _api_task()
    return PairTask(
        inputs=ImageSpec(shape=task.shape), outputs=WaysSpec(classes=task.classes),
        preprocessing=task.own_preprocessing,
    )  # fmt: skip
