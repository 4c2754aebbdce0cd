"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps for times from `first`, nearly clean, to `last`, nearly noise.

A time is what the network is conditioned on: an index, a share, or sigma itself. `at` goes from a share of the way,
0..1, to a time; everything between teacher and student counts in such shares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    @property
    def first(self) -> float: ...

    @property
    def last(self) -> float: ...

    @property
    def scale(self) -> float:
        """Standard deviation of the states at `last` at which sampling starts."""
        ...

    def alpha(self, time: Tensor) -> Tensor:
        """(B,) times -> (B,) the share of the signal."""
        ...

    def sigma(self, time: Tensor) -> Tensor:
        """(B,) times -> (B,) the share of the noise; above 0 from `first` on."""
        ...

    def at(self, share: Tensor) -> Tensor:
        """(B,) shares of the way, 0..1, -> (B,) times."""
        ...

    def size(self, time: Tensor) -> Tensor:
        """(B,) times -> (B,) what states are divided by where a generator is given them: `scale` at the last."""
        ...


@dataclass(frozen=True)
class Discrete:
    """Variance preserving, at whole times. kept: (N,) alpha squared by time, the `alphas_cumprod` of diffusers."""

    kept: Tensor
    first: int
    last: int
    scale: float = 1.0

    def alpha(self, time: Tensor) -> Tensor:
        return self._kept(time).sqrt()

    def sigma(self, time: Tensor) -> Tensor:
        return (1 - self._kept(time)).sqrt()

    def at(self, share: Tensor) -> Tensor:
        return (self.first + share * (self.last - self.first)).round()

    def size(self, time: Tensor) -> Tensor:
        return torch.ones_like(time)

    def _kept(self, time: Tensor) -> Tensor:
        return self.kept[time.long()].to(time.dtype)


@dataclass(frozen=True)
class Cosine:
    """Variance preserving, alpha = cos(pi t / 2) (Nichol & Dhariwal 2021, without their offset)."""

    first: float = 0.01
    last: float = 1.0
    scale: float = 1.0

    def alpha(self, time: Tensor) -> Tensor:
        # cos(pi / 2) is 6e-17 in float64: nothing, and it must be nothing
        return torch.where(time >= 1, torch.zeros_like(time), torch.cos(math.pi / 2 * time))

    def sigma(self, time: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * time)

    def at(self, share: Tensor) -> Tensor:
        return self.first + share * (self.last - self.first)

    def size(self, time: Tensor) -> Tensor:
        return torch.ones_like(time)


@dataclass(frozen=True)
class Flow:
    """Rectified flow: sigma = t / last, alpha = 1 - sigma (Liu et al. 2022); many networks call the last time 1000."""

    last: float = 1.0
    lowest: float = 0.001
    scale: float = 1.0

    @property
    def first(self) -> float:
        return self.lowest * self.last

    def alpha(self, time: Tensor) -> Tensor:
        return 1 - time / self.last

    def sigma(self, time: Tensor) -> Tensor:
        return time / self.last

    def at(self, share: Tensor) -> Tensor:
        return self.first + share * (self.last - self.first)

    def size(self, time: Tensor) -> Tensor:
        return torch.ones_like(time)


@dataclass(frozen=True)
class Karras:
    """Variance exploding: alpha = 1, and a time is sigma; shares are spaced as EDM spaces its steps (Karras et al.
    2022)."""

    first: float = 0.002
    last: float = 80.0
    rho: float = 7.0

    @property
    def scale(self) -> float:
        return self.last

    def alpha(self, time: Tensor) -> Tensor:
        return torch.ones_like(time)

    def sigma(self, time: Tensor) -> Tensor:
        return time

    def at(self, share: Tensor) -> Tensor:
        low, high = self.first ** (1 / self.rho), self.last ** (1 / self.rho)
        return (low + share * (high - low)) ** self.rho

    def size(self, time: Tensor) -> Tensor:
        return time.clamp_min(1)  # below, a state is about as large as the data


@dataclass(frozen=True)
class Trajectory:
    """The path of a denoiser's ODE from one anchor, (x_tau, tau), told by its signal y:

    x_t = (sigma_t / sigma_tau) x_tau + (alpha_t - alpha_tau sigma_t / sigma_tau) y_t.

    alpha, sigma: of the anchor, or (B,) of that of each sample. (0, the schedule's scale) is the paper's form, which
    takes x_tau for pure noise whatever the schedule leaves of the signal there; it is the same where that is nothing.
    """

    schedule: Schedule
    alpha: float | Tensor
    sigma: float | Tensor

    @classmethod
    def of(cls, schedule: Schedule, anchored: bool = True) -> Trajectory:
        """From the last time of a schedule."""
        last = torch.tensor([float(schedule.last)], dtype=torch.float64)
        alpha, sigma = float(schedule.alpha(last)), float(schedule.sigma(last))
        return cls(schedule, alpha, sigma) if anchored else cls(schedule, 0.0, schedule.scale)

    @classmethod
    def starting(cls, schedule: Schedule, time: Tensor) -> Trajectory:
        """Of each sample from its own time (B,)."""
        time = time.double()
        return cls(schedule, schedule.alpha(time), schedule.sigma(time))

    def state(self, start: Tensor, signal: Tensor, time: Tensor) -> Tensor:
        """x_t of the anchor's state `start` and `signal` y_t, both (B, ...), at times (B,)."""
        time = time.double()
        part = self.schedule.sigma(time) / self.sigma
        rest = self.schedule.alpha(time) - self.alpha * part
        return beside(part, start) * start + beside(rest, signal) * signal

    def kept(self, time: Tensor, earlier: Tensor) -> Tensor:
        """(B,) r in y_s = r y_t + (1 - r) f(x_t, t), an exact DDIM step from t to s: 0 at the anchor, below 1 after.
        float64, from the ratios of signal to noise."""
        now, then = (self._beyond(one.double()) for one in (time, earlier))
        return torch.where(then > 0, now / then, torch.zeros_like(now)).clamp(0, 1)

    def _beyond(self, time: Tensor) -> Tensor:
        return self.schedule.alpha(time) / self.schedule.sigma(time) - self.alpha / self.sigma


def beside(column: Tensor, states: Tensor) -> Tensor:
    """(B,) shaped and typed so that it multiplies (B, ...)."""
    return column.to(states.dtype).view(-1, *(1,) * (states.ndim - 1))
