"""Tiny worlds to distil in, one per pair of kinds: small teachers, small tasks, settings of a few steps.

A row is a method in a world: 'fm' in that of images of 8x8 pixels, 'noise/table' in that of tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sansdata.config import dump_yaml
from sansdata.methods.index import METHODS, find_method
from sansdata.settings import RunSettings
from sansdata.teachers.base import Teacher
from sansdata.testing.contract import differing, same_bits  # noqa: F401
from sansdata.testing.worlds import (  # noqa: F401
    CLASSES,
    WORLDS,
    World,
    make_module,
    make_pool,
    make_student,
    make_table_task,
    make_task,
    make_tokens_task,
    pool_images,
    zoo,
)

ENGINE = {"snapshots": 2, "sample_grids": 1, "log_every": 1}


class Plain(nn.Module):
    """A classifier without BatchNorm and without a linear head."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Conv2d(8, CLASSES, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


def method_of(row: str) -> str:
    return row.partition("/")[0]


def world_of(row: str) -> World:
    return WORLDS[row.partition("/")[2] or "image"]


@dataclass(frozen=True)
class Tiny:
    """Files of the tiny worlds."""

    folder: Path

    @property
    def task(self) -> str:
        return self.task_of("")

    @property
    def teacher(self) -> str:
        return self.teacher_of("")

    def task_of(self, row: str) -> str:
        return str(self.folder / f"task{_suffix(row)}.yaml")

    def teacher_of(self, row: str) -> str:
        return world_of(row).spec(self.folder / f"teacher{_suffix(row)}.safetensors")

    @property
    def data(self) -> Path:
        return self.folder / "data.npz"

    @property
    def pool(self) -> str:
        return str(self.folder / "pool")

    def settings(self, row: str, options: dict[str, Any] | None = None, **fields: Any) -> RunSettings:
        given = {
            "teacher": self.teacher_of(row), "task": self.task_of(row), "student": world_of(row).small,
            "method": method_of(row), "budget": "8steps", "threads": 1, "device": "cpu", "precision": "fp32",
            "strict": True, "options": options or {}, "engine": ENGINE,
            "pool": self.pool if needs_pool(method_of(row)) else None,
        }  # fmt: skip
        return RunSettings.model_validate(given | fields)

    def config(self, settings: RunSettings, name: str = "settings.yaml", folder: Path | None = None) -> Path:
        """The settings as a file for `--config`."""
        path = (folder or self.folder) / name.replace("/", "-")
        path.write_text(dump_yaml(settings.model_dump(mode="json")))
        return path


def _suffix(row: str) -> str:
    world = row.partition("/")[2]
    return f"-{world}" if world else ""


def needs_pool(row: str) -> bool:
    method = method_of(row)
    cls = find_method(method) if method in METHODS else None
    return cls is not None and cls.requires(cls.Config()).pool


def make_tiny(folder: Path) -> Tiny:
    """Writes the teacher's weights, the task and a small labelled set."""
    task = make_task()
    (folder / "task.yaml").write_text(dump_yaml(task.model_dump(mode="json")))
    module = make_module()
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "teacher.safetensors")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    with torch.no_grad():
        answers = module((torch.from_numpy(images).float().div(255)[:, None] - 0.5) / 0.25).argmax(1)
    for name, world in WORLDS.items():
        if name != "image":
            (folder / f"task-{name}.yaml").write_text(dump_yaml(world.task.model_dump(mode="json")))
            world.save(folder / f"teacher-{name}.safetensors")
    (folder / "pool").mkdir()
    for number, image in enumerate(pool_images(task.shape)):
        Image.fromarray(image[..., 0]).save(folder / "pool" / f"{number:03d}.png")
    np.savez(folder / "data.npz", x=images, y=answers.numpy())
    return Tiny(folder)


def make_teacher(shape: tuple[int, int, int] = (1, 8, 8)) -> Teacher:
    return Teacher.from_module(make_module(shape), make_task(shape))


# -- comparing runs


def tensors(file: Path) -> dict[str, Tensor]:
    return load_file(file)


def student_of(run: Path) -> dict[str, Tensor]:
    return tensors(run / "student.safetensors")


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()
