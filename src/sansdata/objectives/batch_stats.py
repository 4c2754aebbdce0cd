"""How far a batch's statistics are from those a BatchNorm layer remembers (DeepInversion, eq. 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _ChannelStatistics(torch.autograd.Function):
    """Mean and biased variance per channel, ten times as fast on a CPU as `var_mean` and its backward.

    Sums are taken per image in x's own precision, then over the batch in float32, which in bfloat16 is also nearer
    to the truth than batch normalisation's own kernel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        wide = torch.promote_types(x.dtype, torch.float32)
        n = x.numel() // x.shape[1]
        mean = _over_places(x).to(wide).sum(0) / n
        second = _over_places(x * x).to(wide).sum(0) / n
        ctx.save_for_backward(x, mean)
        return mean, (second - mean * mean).clamp_min(0)

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_var: Tensor) -> Tensor:  # type: ignore[override]
        x, mean = ctx.saved_tensors
        n = x.numel() // x.shape[1]
        slope = (2 / n) * grad_var
        offset = grad_mean / n - slope * mean
        # slope * x + offset per channel is what batch normalisation does in eval mode, in one fast kernel
        return F.batch_norm(x, torch.zeros_like(slope), torch.ones_like(slope), slope, offset, False, 0.0, 0.0)


def _over_places(x: Tensor) -> Tensor:
    """(B, C) sums over all axes behind the channels, of which there may be none."""
    return x.sum(tuple(range(2, x.ndim))) if x.ndim > 2 else x


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, both (C,), of x (B, C, ...); float32, or float64 where x is."""
    return _ChannelStatistics.apply(x)  # type: ignore[return-value]


def statistics_distance(mean: Tensor, var: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
    """||mean - running_mean||_2 + ||var - running_var||_2, un-squared, a scalar."""
    return torch.linalg.vector_norm(mean - running_mean) + torch.linalg.vector_norm(var - running_var)


def sample_statistics_distance(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """||mean_i - mean||^2 + ||std_i - std||^2, squared, a scalar: of each sample of x (B, C, ...) by itself over its
    places, averaged over the batch (ZeroQ, eq. 3). The spread is the unbiased one, as released and as BatchNorm keeps
    it. Samples of one place have none, and only their mean counts."""
    flat = x.flatten(2) if x.ndim > 2 else x[:, :, None]
    distance = (flat.mean(2) - mean).square().sum(1)
    if flat.shape[2] > 1:
        distance = distance + ((flat.var(2) + 1e-6).sqrt() - std).square().sum(1)
    return distance.mean()


class BatchStatistics:
    """The BatchNorm prior of a frozen module: which taps to read, and the distance of a batch's statistics.

    momentum m > 0 (FM): once `remember` was called, m * remembered + (1 - m) * current enters the distance.
    first: multiplier of the first layer (10 in DeepInversion's ImageNet code).
    """

    def __init__(self, module: nn.Module, norms: Iterable[str], momentum: float = 0.0, first: float = 1.0) -> None:
        self.norms = tuple(norms)
        self.momentum, self.first = momentum, first
        layers = [module.get_submodule(path) for path in self.norms]
        self.taps = tuple(f"{path}:{getattr(layer, 'side', 'input')}" for path, layer in zip(self.norms, layers))
        self._unfolded = [getattr(layer, "unfolded", None) for layer in layers]
        """Of a layer that is part of another (models.folding): from its output's statistics to its input's."""
        self._target = [(layer.running_mean, layer.running_var) for layer in layers]
        self._remembered: list[tuple[Tensor, Tensor]] | None = None
        self._current: list[tuple[Tensor, Tensor]] | None = None

    def __call__(self, taps: Mapping[str, Tensor]) -> Tensor:
        """The distance, a scalar, summed over layers; taps as read in one forward pass in eval mode."""
        total, current = [], []
        for i, tap in enumerate(self.taps):
            mean, var = channel_statistics(taps[tap])
            if (unfolded := self._unfolded[i]) is not None:
                mean, var = unfolded(mean, var)
            current.append((mean.detach(), var.detach()))
            if self._remembered is not None:
                old_mean, old_var = self._remembered[i]
                mean = self.momentum * old_mean + (1 - self.momentum) * mean
                var = self.momentum * old_var + (1 - self.momentum) * var
            distance = statistics_distance(mean, var, *self._target[i])  # type: ignore[arg-type]
            total.append(self.first * distance if i == 0 else distance)
        self._current = current
        return torch.stack(total).sum()

    def remember(self) -> None:
        """Takes the last seen statistics into the running ones; once per round, after its last step (FM)."""
        if self.momentum == 0 or self._current is None:
            return
        if self._remembered is None:
            self._remembered = self._current
            return
        m = self.momentum
        self._remembered = [
            (m * old_mean + (1 - m) * mean, m * old_var + (1 - m) * var)
            for (old_mean, old_var), (mean, var) in zip(self._remembered, self._current)
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"remembered": self._remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        remembered = state["remembered"]
        self._remembered = None if remembered is None else [(mean, var) for mean, var in remembered]
