"""A tiny world to distil in: small teachers, tasks of 8x8 pixels, settings of a few steps."""

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
from sansdata.models.build import build
from sansdata.settings import RunSettings
from sansdata.synthesis.folder import ImagePool
from sansdata.tasks import ImageTask
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


@dataclass(frozen=True)
class Tiny:
    """Files of the tiny world."""

    folder: Path

    @property
    def task(self) -> str:
        return str(self.folder / "task.yaml")

    @property
    def teacher(self) -> str:
        return f"resnet8@{self.folder / 'teacher.safetensors'}"

    @property
    def data(self) -> Path:
        return self.folder / "data.npz"

    @property
    def pool(self) -> str:
        return str(self.folder / "pool")

    def settings(self, method: str, options: dict[str, Any] | None = None, **fields: Any) -> RunSettings:
        given = {
            "teacher": self.teacher, "task": self.task, "student": "shrink:0.25", "method": method,
            "budget": "8steps", "threads": 1, "device": "cpu", "precision": "fp32", "strict": True,
            "options": options or {}, "engine": ENGINE, "pool": self.pool if needs_pool(method) else None,
        }  # fmt: skip
        return RunSettings.model_validate(given | fields)

    def config(self, settings: RunSettings, name: str = "settings.yaml", folder: Path | None = None) -> Path:
        """The settings as a file for `--config`."""
        path = (folder or self.folder) / name
        path.write_text(dump_yaml(settings.model_dump(mode="json")))
        return path


def needs_pool(method: str) -> bool:
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
