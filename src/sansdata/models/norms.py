"""Layers that remember statistics of the data they were trained on, whoever wrote them."""

from __future__ import annotations

from torch import Tensor, nn


def remembers(part: nn.Module) -> bool:
    """Whether it has a running mean and variance per channel: BatchNorm of any dimension, synchronised or frozen,
    InstanceNorm that tracks them, and layers of the same attributes."""
    mean, var = (getattr(part, name, None) for name in ("running_mean", "running_var"))
    return isinstance(mean, Tensor) and isinstance(var, Tensor) and mean.ndim == 1 and mean.shape == var.shape


def matches(part: nn.Module, output: object) -> bool:
    """Whether its statistics are those of axis 1 of what it gave, as whoever matches them takes them."""
    return (
        remembers(part) and isinstance(output, Tensor) and output.ndim >= 2
        and output.shape[1] == len(part.running_mean)  # type: ignore[arg-type]
    )  # fmt: skip
