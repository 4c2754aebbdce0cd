"""What a generator of a denoiser's trajectories may be told beside its noise: where on the way it starts, so that it is
sampled in several calls, and how strongly it is guided, so that one network answers for a range of strengths."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import StudentError
from .schedules import Schedule

WAVES = 8
"""Frequencies in which a share is told."""
MOST_CALLS = 16


class Steerable(nn.Module, ABC):
    """Noise (B, *shape), and a label (B,) where it takes one, -> the sample (B, *shape), in all of its calls.

    time: (B,) the share of the way, 0..1, at which the trajectory's signal is wanted instead, in one call; 0 is the
    sample. start: (B,) the share at which that call starts, one of its `starts`, 1 without; the noise is then the state
    there, divided by the schedule's `size`. guidance: (B,) how far the answer is pushed towards the label; without, and
    where it was told of a range, the middle of that range.
    """

    starts: Tensor
    """(K, 4), from the noise on: the share, its alpha and sigma, and what states there are divided by. Where it was
    told of none there is no such buffer."""
    strengths: Tensor
    """(2,) the range of guidance, where it was told of one."""

    def tell(self, calls: int = 1, guided: bool = False) -> None:
        """In place: it can be told a start, if it is to have more than one, and guidance. It answers as before until
        it has learnt of them. The values of both buffers are for the caller to set, or for a file. Raises StudentError
        where it has already been told of other ones, or cannot be told."""
        if not 1 <= calls <= MOST_CALLS:
            raise StudentError(f"a generator is sampled in 1 to {MOST_CALLS} calls, got {calls!r:.40}")
        if calls == 1 and not guided:
            return
        if self.steered:
            if (calls, guided) != (self.calls, self.guided):
                raise StudentError("the student was told of other starts or guidance before; begin with another")
            return
        if calls > 1:
            self.register_buffer("starts", torch.zeros(calls, 4))
        if guided:
            self.register_buffer("strengths", torch.tensor([0.0, 1.0]))
        self.take_condition((2 * WAVES if calls > 1 else 0) + (self.strength_width if guided else 0))

    @property
    def steered(self) -> bool:
        return self.calls > 1 or self.guided

    @property
    def calls(self) -> int:
        """In how many it is sampled, at most and unless somebody says otherwise."""
        starts = self._buffers.get("starts")
        return 1 if starts is None else len(starts)

    @property
    def guided(self) -> bool:
        return "strengths" in self._buffers

    @property
    def strength_width(self) -> int:
        """In how many numbers a strength is told."""
        return 2 * WAVES

    def strength_condition(self, guidance: Tensor) -> Tensor:
        """(B,) -> (B, strength_width)."""
        low, high = self.strengths
        return waves((guidance - low) / (high - low).clamp_min(1e-6))

    @abstractmethod
    def take_condition(self, entries: int) -> None:
        """Adds what takes (B, entries) numbers in, so that at first it changes nothing."""

    @abstractmethod
    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        """One call. told: (B, entries) what it is told beside, None where that is nothing."""

    def forward(
        self,
        noise: Tensor,
        time: Tensor | None = None,
        label: Tensor | None = None,
        start: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        if time is None:
            return self.sample(noise, label, guidance=guidance)
        return self.signal(noise, time, label, start, self.condition_of(noise, start, guidance))

    def sample(
        self, noise: Tensor, label: Tensor | None = None, calls: int | None = None, guidance: Tensor | None = None
    ) -> Tensor:
        """The sample in `calls` calls, at most as many as it has starts; fewer leave out starts evenly. Raises
        StudentError for more."""
        places = self.places(self.calls if calls is None else calls)
        end = noise.new_zeros(noise.shape[0])
        signal = noise
        for place, then in zip(places, [*places[1:], None]):
            start = None if self.calls == 1 else self.share(place, noise)
            time = end if then is None else self.share(then, noise)
            signal = self.signal(noise, time, label, start, self.condition_of(noise, start, guidance))
            if then is not None:
                noise = self.onward(noise, signal, place, then)
        return signal

    def places(self, calls: int) -> list[int]:
        """Which of its starts so many calls have."""
        if not 1 <= calls <= self.calls:
            raise StudentError(f"this generator is sampled in 1 to {self.calls} calls, not in {calls}")
        return [round(number * self.calls / calls) for number in range(calls)]

    def share(self, place: int, noise: Tensor) -> Tensor:
        """(B,) that of a start."""
        return self.starts[place, 0].to(noise.dtype).expand(noise.shape[0])

    def onward(self, noise: Tensor, signal: Tensor, place: int, then: int) -> Tensor:
        """Its next noise, at the start `then`, of that at `place` and of the signal that it said of `then`."""
        (_, alpha, sigma, size), (_, later_alpha, later_sigma, later_size) = self.starts[place], self.starts[then]
        part = later_sigma / sigma
        state = part * size * noise + (later_alpha - alpha * part) * signal
        return (state / later_size).to(noise.dtype)

    def condition_of(self, noise: Tensor, start: Tensor | None = None, guidance: Tensor | None = None) -> Tensor | None:
        """(B, entries) what a call with `noise` is told beside; None where that is nothing."""
        parts = []
        if self.calls > 1:
            parts.append(waves(noise.new_ones(noise.shape[0]) if start is None else start))
        if self.guided:
            strength = self.strengths.mean().expand(noise.shape[0]) if guidance is None else guidance
            parts.append(self.strength_condition(strength))
        return torch.cat(parts, 1).to(noise.dtype) if parts else None


def starts_of(schedule: Schedule, calls: int) -> Tensor:
    """(calls, 4) evenly spread starts of a schedule, as `Steerable.starts` has them."""
    shares = 1 - torch.arange(calls, dtype=torch.float64) / calls
    times = schedule.at(shares.to(_device_of(schedule)))
    parts = [shares.to(times.device), schedule.alpha(times), schedule.sigma(times), schedule.size(times)]
    return torch.stack(parts, 1).float()


def waves(share: Tensor) -> Tensor:
    """(B,) shares, 0..1, -> (B, 2 * WAVES)."""
    phases = share[:, None] * math.pi * torch.arange(1, WAVES + 1, device=share.device) / 2
    return torch.cat([phases.sin(), phases.cos()], 1)


def silent(entries: int, width: int) -> nn.Linear:
    """A linear layer without a bias that says nothing until it has learnt."""
    layer: Any = nn.utils.skip_init(nn.Linear, entries, width, bias=False)  # which draws no random numbers
    nn.init.zeros_(layer.weight)
    return layer


def _device_of(schedule: Schedule) -> torch.device:
    kept = getattr(schedule, "kept", None)
    return kept.device if isinstance(kept, Tensor) else torch.device("cpu")
