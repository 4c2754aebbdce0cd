"""A world: a task, a teacher of it and a student; and those whose networks the zoo has."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import nn

from ...kinds.index import input_kind
from ...models.build import architecture_of, build
from ...network import Network
from ...tasks import (
    Task,
)
from ...teachers.base import Teacher
from .tasks import CLASSES


def zoo(channels: int = 1, scale: float = 1.0) -> dict[str, Any]:
    return {"kind": "zoo", "name": "resnet8", "args": {"channels": channels, "classes": CLASSES, "scale": scale}}


def make_module(shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> nn.Module:
    """A ResNet-8 whose BatchNorm has seen a few batches and whose answers differ from class to class."""
    return copy.deepcopy(_made_module(shape, seed))


@lru_cache(maxsize=16)
def _made_module(shape: tuple[int, int, int], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: Any = build(zoo(shape[0])).train()
        with torch.no_grad():
            for _ in range(30):
                module(torch.randn(32, *shape))
            module.linear.weight.mul_(4)
    return module.eval()


def make_student(channels: int = 1, seed: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(zoo(channels, 0.25))


@dataclass(frozen=True)
class World:
    """A pair of kinds, small. network: the zoo's name of the teacher's architecture."""

    task: Task
    network: str

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        """Answers differ from input to input; BatchNorm, where there is some, has seen a few batches."""
        return copy.deepcopy(self._made(scale, seed))

    @lru_cache(maxsize=16)  # noqa: B019 - worlds are few and last as long as the tests
    def _made(self, scale: float, seed: int) -> nn.Module:
        architecture = architecture_of(self.network, self.task)
        architecture["args"]["scale"] = scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: Any = build(architecture).train()
            network, kind = Network.of(module, self.task), input_kind(self.task)
            with torch.no_grad():
                for number in range(30):
                    network(kind.draw(32, torch.Generator().manual_seed(number)))
                self.sharpen(module)
        return module.eval()

    def sharpen(self, module: Any) -> None:
        """Makes answers differ from input to input."""
        module.head.weight.mul_(8)

    def teacher(self) -> Teacher:
        return Teacher.from_module(self.module(), self.task)

    def student(self) -> nn.Module:
        return self.module(0.25, seed=1)

    small: ClassVar[str] = "shrink:0.25"
    """The spec of its student."""

    def save(self, path: Path) -> None:
        """Writes the teacher's file."""
        save_file({name: value.contiguous() for name, value in self.module().state_dict().items()}, path)

    def spec(self, path: Path) -> str:
        """The spec of the teacher that `save` wrote."""
        return f"{self.network}@{path}"


@dataclass(frozen=True)
class ImageWorld(World):
    """The world of most methods; its teacher is as old as the tests."""

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        return make_module() if scale == 1 else make_student()


@dataclass(frozen=True)
class ReaderWorld(World):
    """A decoder whose tokens follow from the sounds more than from the token before."""

    def sharpen(self, module: Any) -> None:
        for convolution in (module.encoder.conv1, module.encoder.conv2):
            convolution.weight.mul_(8)
        module.encoder.positions.mul_(0.3)
        for block in module.decoder.blocks:
            for part in (block.cross.memory, block.cross.out):
                part.weight.mul_(10)
        module.decoder.embedding.weight.mul_(2)


@dataclass(frozen=True)
class SpansWorld(World):
    """A reader that points to a part of a text."""

    def sharpen(self, module: Any) -> None:
        module.plain.weight.mul_(20)
        module.places.weight.mul_(8)


@dataclass(frozen=True)
class NoiseWorld(World):
    """A teacher that denoises exactly, and a student that makes points."""

    small: ClassVar[str] = "point-net-small"

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        name = self.network if scale == 1 else self.small
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(architecture_of(name, self.task)).eval()
