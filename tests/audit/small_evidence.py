"""Evidence in small: answers that were drawn, and a network of digits that was really trained."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sansdata.audit.evidence import Answered, Evidence
from sansdata.network import Network
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher

TASK = ImageTask(shape=(1, 8, 8), classes=10, mean=(0.5,), std=(0.25,))


@cache
def digits() -> tuple[Tensor, Tensor]:
    """(uint8 (1797, 1, 8, 8), labels)."""
    values, labels = load_digits(return_X_y=True)
    return torch.from_numpy((values.reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8)), torch.from_numpy(labels)


def small_cnn(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def trained(module: nn.Module, images: Tensor, labels: Tensor, steps: int = 120, lr: float = 5e-3) -> nn.Module:
    """images uint8 (N, 1, 8, 8)."""
    inputs = (images.float().div(255) - 0.5) / 0.25
    optimiser = torch.optim.Adam(module.train().parameters(), lr)
    stream = torch.Generator().manual_seed(0)
    for _ in range(steps):
        ids = torch.randint(0, len(inputs), (128,), generator=stream)
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs[ids]), labels[ids]).backward()
        optimiser.step()
    return module.eval()


@cache
def teacher() -> Teacher:
    """Knows digits."""
    images, labels = digits()
    return Teacher.from_module(trained(small_cnn(), images[:1200], labels[:1200]), TASK)


def evidence(packed: Tensor, student: nn.Module | None = None, **others: Any) -> Evidence:
    """Of synthetic images uint8 (N, 1, 8, 8); the student is the teacher where none is given."""
    asked = Network.of(student or teacher().module, TASK)
    return Evidence(
        TASK, teacher(), lambda x: asked(x).value.detach(), answers(packed, asked), forward=lambda x: asked(x).value,
        **others,
    )  # fmt: skip


def answers(packed: Tensor, student: Network) -> Answered:
    unit = packed.float().div(255)
    with torch.no_grad():
        return Answered(packed, teacher()(unit).value.numpy(), student(unit).value.numpy(), "made")


def drawn(teacher: np.ndarray, student: np.ndarray) -> Answered:
    """Of logits alone."""
    return Answered(torch.zeros(len(teacher), 1, 8, 8, dtype=torch.uint8), teacher, student, "drawn")
