"""A task to try the kind on: sine, square and saw of random phase, and networks that tell them apart."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from sansdata import Task


def waves(task: Task, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(series (B, 1, T), class (B,) int64): 1 to 4 periods of height 0.5 to 1.3, with a little noise on them."""
    labels = torch.randint(3, (count,), generator=generator)
    height, periods, start = torch.rand(3, count, 1, generator=generator)
    phase = (start + (1 + 3 * periods) * torch.linspace(0, 1, task.inputs.length)) % 1
    sine = torch.sin(2 * math.pi * phase)
    shapes = torch.stack([sine, sine.sign(), 2 * phase - 1])  # (3, B, T)
    clean = (0.5 + 0.8 * height) * shapes[labels, torch.arange(count)]
    return (clean + 0.05 * torch.randn(clean.shape, generator=generator))[:, None], labels


def network(task: Task, width: int) -> nn.Module:
    """Two convolutions over time, of `width` and twice as many channels, their mean, and one linear layer."""
    return nn.Sequential(
        nn.Conv1d(task.inputs.channels, width, 7, padding=3), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(width, 2 * width, 5, padding=2), nn.BatchNorm1d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, task.classes),
    )  # fmt: skip


def large(task: Task) -> nn.Module:
    """The teacher's network."""
    return network(task, 32)


def small(task: Task) -> nn.Module:
    """The student's, with a thirteenth of its parameters."""
    return network(task, 8)
