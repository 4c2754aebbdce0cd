"""What flows through a network, as far as BatchNorm's statistics tell: means and ranges per channel, without data.

Nagel et al. 2019, sections 4.2.1 and 5: outputs of layers with BatchNorm are taken for normally distributed, what
comes of them behind clips, additions and concatenations is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from .fold import Normal
from .graph import (
    ADD,
    CONCAT,
    PAD,
    POOL_MAX,
    POOL_MEAN,
    SLICE,
    NetworkGraph,
    argument,
    clip_of,
    keeps_channels,
    pads_with_zeros,
)

WIDTH = 6.0
"""Standard deviations to each side of the mean that a range holds (the paper's n)."""


@dataclass(frozen=True)
class Signal:
    """Per channel, all (C,). mean, std: None where nothing tells them, as behind max pooling. low, high: the range."""

    mean: Tensor | None
    std: Tensor | None
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, normal: Normal) -> Signal:
        return cls(
            normal.mean, normal.std, normal.mean - WIDTH * normal.std, normal.mean + WIDTH * normal.std
        )  # fmt: skip

    @property
    def range(self) -> tuple[float, float]:
        return float(self.low.min()), float(self.high.max())


def signals(graph: NetworkGraph, known: dict[fx.Node, Normal]) -> dict[fx.Node, Signal]:
    """Everything that can be told of a network's inner values; of the others nothing."""
    distributions: dict[fx.Node, Signal] = {}
    for node in graph.nodes:
        signal = Signal.of(known[node]) if node in known else _passed_on(graph, node, distributions)
        if signal is not None:
            distributions[node] = signal
    return distributions


def _passed_on(graph: NetworkGraph, node: fx.Node, distributions: dict[fx.Node, Signal]) -> Signal | None:
    if node.target is ADD and argument(node, 2, 1) == 1 and not node.kwargs:
        sides = [distributions.get(side) for side in node.args[:2] if isinstance(side, fx.Node)]
        return _sum(*sides) if len(sides) == 2 and None not in sides else None  # type: ignore[arg-type]
    if node.target is CONCAT and argument(node, 1, 0) == 1:
        parts = [distributions.get(part) for part in node.args[0]]  # type: ignore[union-attr]
        return None if None in parts else _side_by_side(parts)  # type: ignore[arg-type]
    source = distributions.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
    if source is None:
        return None
    if (ends := clip_of(node)) is not None:
        return clipped(source, *ends)
    if node.target is SLICE and argument(node, 1, 0) >= 2:
        return source
    if node.target is PAD and pads_with_zeros(node):
        return _with_zeros(source, list(argument(node, 1, [])))
    if not keeps_channels(graph, node):
        return None
    if node.target in POOL_MAX:
        return Signal(None, None, source.low, source.high)
    return Signal(source.mean, None, source.low, source.high) if node.target in POOL_MEAN else source


def clipped(signal: Signal, low: float, high: float) -> Signal:
    """What is left of a signal between two ends, taken for normal where its mean and std are known."""
    mean = std = None
    if signal.mean is not None and signal.std is not None:
        mean, std = clipped_normal(signal.mean, signal.std, low, high)
    return Signal(mean, std, signal.low.clamp(low, high), signal.high.clamp(low, high))


def clipped_normal(mean: Tensor, std: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Mean and std of a normally distributed value of this mean and std, cut off at low and high (which may be
    infinite)."""
    std = std.clamp_min(1e-12)
    start, end = (low - mean) / std, (high - mean) / std
    inside = _cdf(end) - _cdf(start)
    edges = _pdf(start) - _pdf(end)
    first = std * edges + mean * inside + _at(low, _cdf(start)) + _at(high, 1 - _cdf(end))
    second = (mean.square() + std.square()) * inside + 2 * mean * std * edges
    second = second + std.square() * (_times(start, _pdf(start)) - _times(end, _pdf(end)))
    second = second + _at(low, _cdf(start)) * (low if math.isfinite(low) else 0.0)
    second = second + _at(high, 1 - _cdf(end)) * (high if math.isfinite(high) else 0.0)
    return first, (second - first.square()).clamp_min(0).sqrt()


def _pdf(x: Tensor) -> Tensor:
    return torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)


def _cdf(x: Tensor) -> Tensor:
    return torch.special.ndtr(x)


def _at(value: float, share: Tensor) -> Tensor:
    """An infinite end is never reached."""
    return value * share if math.isfinite(value) else torch.zeros_like(share)


def _times(x: Tensor, density: Tensor) -> Tensor:
    return torch.where(x.isfinite(), x * density, torch.zeros_like(x))


def _sum(one: Signal, other: Signal) -> Signal | None:
    """The two are taken for independent."""
    if one.low.shape != other.low.shape:
        return None
    low, high = one.low + other.low, one.high + other.high
    mean = one.mean + other.mean if one.mean is not None and other.mean is not None else None
    std = (one.std.square() + other.std.square()).sqrt() if one.std is not None and other.std is not None else None
    if mean is not None and std is not None:
        low, high = torch.maximum(low, mean - WIDTH * std), torch.minimum(high, mean + WIDTH * std)
    return Signal(mean, std, low, high)


def _side_by_side(parts: list[Signal]) -> Signal:
    def joined(values: list[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.cat(there) if len(there) == len(values) else None

    return Signal(
        joined([part.mean for part in parts]), joined([part.std for part in parts]),
        torch.cat([part.low for part in parts]), torch.cat([part.high for part in parts]),
    )  # fmt: skip


def _with_zeros(signal: Signal, sizes: list[int]) -> Signal | None:
    """Channels of zeros before and behind. Places of zeros around a map widen its range to 0; its mean is left as it
    is, like that of a map which a convolution pads by itself."""
    if any(sizes[:4]):
        signal = Signal(signal.mean, signal.std, signal.low.clamp_max(0), signal.high.clamp_min(0))
    before, behind = (*sizes[4:], 0, 0)[:2]

    def padded(values: Tensor | None) -> Tensor | None:
        return None if values is None else torch.nn.functional.pad(values, (before, behind))

    low, high = padded(signal.low), padded(signal.high)
    assert low is not None
    assert high is not None
    return Signal(padded(signal.mean), padded(signal.std), low, high)
