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
from sansdata.decoding.image_pool import ImagePool
from sansdata.kinds.index import input_kind
from sansdata.methods.index import METHODS, find_method
from sansdata.models.build import architecture_of, build
from sansdata.network import Network
from sansdata.settings import RunSettings
from sansdata.tasks import ClassesSpec, Column, ImageTask, PairTask, TableSpec, Task, TokensSpec
from sansdata.teachers.base import Teacher

CLASSES = 4
ENGINE = {"snapshots": 2, "sample_grids": 1, "log_every": 1}


def make_task(shape: tuple[int, int, int] = (1, 8, 8)) -> ImageTask:
    return ImageTask(shape=shape, classes=CLASSES, mean=(0.5,) * shape[0], std=(0.25,) * shape[0])


def zoo(channels: int = 1, scale: float = 1.0) -> dict[str, Any]:
    return {"kind": "zoo", "name": "resnet8", "args": {"channels": channels, "classes": CLASSES, "scale": scale}}


def make_module(shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> nn.Module:
    """A ResNet-8 whose BatchNorm has seen a few batches and whose answers differ from class to class."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(zoo(shape[0])).train()
        with torch.no_grad():
            for _ in range(30):
                module(torch.randn(32, *shape))
            module.linear.weight.mul_(4)
    return module.eval()


def make_student(channels: int = 1, seed: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(zoo(channels, 0.25))


class Plain(nn.Module):
    """A classifier without BatchNorm and without a linear head."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Conv2d(8, CLASSES, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


# -- worlds


def make_table_task() -> PairTask:
    """Every sort of column: any number, a whole one, one that may be missing, two categories."""
    columns = (
        Column(name="size", range=(-2.0, 6.0)), Column(name="count", range=(0, 9), whole=True),
        Column(name="doubt", range=(0.0, 1.0), missing=True), Column(name="colour", levels=("red", "green", "blue")),
        Column(name="shape", levels=("round", "square"), missing=True),
    )  # fmt: skip
    return PairTask(inputs=TableSpec(columns=columns), outputs=ClassesSpec(classes=CLASSES))


def make_tokens_task() -> PairTask:
    return PairTask(inputs=TokensSpec(vocabulary=40, length=12), outputs=ClassesSpec(classes=CLASSES))


@dataclass(frozen=True)
class World:
    """A pair of kinds, small. network: the zoo's name of the teacher's architecture."""

    task: Task
    network: str

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        """Answers differ from input to input; BatchNorm, where there is some, has seen a few batches."""
        architecture = architecture_of(self.network, self.task)
        architecture["args"]["scale"] = scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build(architecture).train()
            network, kind = Network.of(module, self.task), input_kind(self.task)
            with torch.no_grad():
                for number in range(30):
                    network(kind.draw(32, torch.Generator().manual_seed(number)))
                module.head.weight.mul_(8)
        return module.eval()

    def teacher(self) -> Teacher:
        return Teacher.from_module(self.module(), self.task)

    def student(self) -> nn.Module:
        return self.module(0.25, seed=1)


@dataclass(frozen=True)
class ImageWorld(World):
    """The world of most methods; its teacher is as old as the tests."""

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        return make_module() if scale == 1 else make_student()


WORLDS: dict[str, World] = {
    "image": ImageWorld(make_task(), "resnet8"),
    "table": World(make_table_task(), "mlp-small"),
    "tokens": World(make_tokens_task(), "bag"),
}


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
        return f"{world_of(row).network}@{self.folder / f'teacher{_suffix(row)}.safetensors'}"

    @property
    def data(self) -> Path:
        return self.folder / "data.npz"

    @property
    def pool(self) -> str:
        return str(self.folder / "pool")

    def settings(self, row: str, options: dict[str, Any] | None = None, **fields: Any) -> RunSettings:
        given = {
            "teacher": self.teacher_of(row), "task": self.task_of(row), "student": "shrink:0.25",
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


def pool_images(shape: tuple[int, int, int], count: int = 48) -> np.ndarray:
    """uint8 (N, H, W, C): bars and noise, which the tiny teachers do not all take for one class."""
    channels, height, width = shape
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    images[::2, : height // 2] //= 4
    images[::3, :, width // 2 :] = 255 - images[::3, :, width // 2 :] // 8
    return images


def make_pool(shape: tuple[int, int, int] = (1, 8, 8), count: int = 48) -> ImagePool:
    images = torch.from_numpy(pool_images(shape, count)).permute(0, 3, 1, 2).contiguous()
    return ImagePool(Path("pool"), images, count, 0, "none", 0)


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
            state = {key: value.contiguous() for key, value in world.module().state_dict().items()}
            save_file(state, folder / f"teacher-{name}.safetensors")
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


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names that are not bitwise the same in both."""
    names = sorted(one.keys() | other.keys())
    return [n for n in names if n not in one or n not in other or not same_bits(one[n], other[n])]


def same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    plain = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*plain)


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()
