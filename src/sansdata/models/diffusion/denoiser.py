"""A denoising network with its schedule: what it takes for the clean sample, and its own deterministic sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import TeacherError
from .schedules import Cosine, Discrete, Flow, Karras, Schedule, Trajectory, beside

Prediction = Literal["epsilon", "sample", "v_prediction", "flow", "edm"]
PREDICTIONS: tuple[str, ...] = ("epsilon", "sample", "v_prediction", "flow", "edm")
"""What a network may give: the noise, the clean sample, alpha eps - sigma x_0, eps - x_0, or what EDM's
preconditioning makes a sample of."""
STEPS = 20
"""Of the sampler, where nobody says otherwise."""
SCHEDULES: Mapping[str, Callable[..., Schedule]] = {"cosine": Cosine, "flow": Flow, "karras": Karras}
"""Schedules that are formulas, by name; 'discrete' is a table, which the network's file holds."""


class Denoiser(nn.Module):
    """Called with noise (B, *shape) of unit variance, and a label (B,) where it takes one, it gives the end of its
    deterministic trajectory (DDIM, without noise) in `steps` calls of its network.

    network: called with (state, times) or (state, times, labels), times (B,) as its schedule has them; what it returns
    is a tensor, or has one as `sample`. schedule: a table of alpha squared (N,) at whole times, one of those in
    `schedules`, or the name of one. clip: bound on the clean sample, or None. labels: how many it can be asked for;
    null: the label that stands for none of them, where it was trained with one. guidance: how far the answer is pushed
    from that of `null` to that of the label; 1 asks for the label alone. deviation: of the data, for EDM's
    preconditioning.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule | Tensor | str,
        prediction: Prediction = "epsilon",
        clip: float | None = None,
        labels: int = 0,
        null: int | None = None,
        guidance: float = 1.0,
        deviation: float = 0.5,
        first: int = 0,
    ) -> None:
        """first: of a table, the first time that the network was trained on. Raises TeacherError for settings that do
        not go together."""
        super().__init__()
        self.network = network
        self.prediction: str = prediction
        self.clip, self.labels, self.null, self.guidance = clip, labels, null, guidance
        self.deviation, self.steps, self._first = deviation, STEPS, first
        if isinstance(schedule, Tensor):
            self.register_buffer("kept", schedule.detach().clone())
        else:
            self._formula = _formula(schedule) if isinstance(schedule, str) else schedule
        if prediction not in PREDICTIONS:
            raise TeacherError(f"a network predicts one of {', '.join(PREDICTIONS)}, not {prediction!r:.40}")
        if guidance != 1 and null is None:
            raise TeacherError("guidance needs a network that was trained without labels too, and its label for none")

    @property
    def schedule(self) -> Schedule:
        table = self._buffers.get("kept")
        return self._formula if table is None else Discrete(table, self._first, len(table) - 1)

    def clean(self, state: Tensor, time: Tensor, label: Tensor | None = None, guidance: Tensor | None = None) -> Tensor:
        """f(x_t, t): the clean sample (B, ...) that it sees in `state` at times (B,). guidance: (B,) in place of its
        own."""
        pushed = self.guidance != 1 if guidance is None else True
        if label is None or not pushed:
            return self._clipped(self._one(state, time, label))
        if self.null is None:
            raise TeacherError("guidance needs a network that was trained without labels too, and its label for none")
        strength = torch.full_like(time, self.guidance) if guidance is None else guidance
        none = torch.full_like(label, self.null)
        asked, unasked = self._one(state, time, label), self._one(state, time, none)
        return self._clipped(unasked + beside(strength, state) * (asked - unasked))

    def _one(self, state: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        schedule = self.schedule
        alpha, sigma = beside(schedule.alpha(time), state), beside(schedule.sigma(time), state)
        inner, times = (state, time) if self.prediction != "edm" else preconditioned(state, sigma, self.deviation)
        return to_clean(self.prediction, self.ask(inner, times, label), state, alpha, sigma, self.deviation)

    def ask(self, state: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        """What the network itself gives."""
        return ask(self.network, state, time, label if self.labels else None)

    def _clipped(self, clean: Tensor) -> Tensor:
        return clean if self.clip is None else clean.clamp(-self.clip, self.clip)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.sample(noise, label)

    def sample(
        self, noise: Tensor, label: Tensor | None = None, steps: int | None = None, guidance: Tensor | None = None
    ) -> Tensor:
        """The clean end of the trajectory from `noise`, in so many steps evenly spread over the schedule. guidance:
        (B,) in place of its own."""
        return self._walk(noise, label, steps, guidance)[0]

    def signals(
        self, noise: Tensor, label: Tensor | None = None, steps: int | None = None, guidance: Tensor | None = None
    ) -> list[Tensor]:
        """The signal of the trajectory at steps + 1 evenly spread shares of the way, from 1 to 0."""
        return self._walk(noise, label, steps, guidance)[1]

    def _walk(
        self, noise: Tensor, label: Tensor | None, steps: int | None, guidance: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(what it sees as the clean sample at the last step, the signals of the whole way)."""
        count, path = steps or self.steps, Trajectory.of(self.schedule)
        start = noise * self.schedule.scale
        shares = torch.linspace(1, 0, count + 1, dtype=torch.float64, device=noise.device)
        times = self.schedule.at(shares)
        signal = clean = torch.zeros_like(noise)
        signals = []
        for number in range(count):
            now, then = (times[number + one].expand(noise.shape[0]) for one in (0, 1))
            state = path.state(start, signal, now)
            clean = self.clean(state, now.to(noise.dtype), label, guidance)
            kept = beside(path.kept(now, then), signal)
            signals.append(clean if number == 0 else signal)
            signal = kept * signal + (1 - kept) * clean
        return clean, [*signals, signal]


def _formula(name: str) -> Schedule:
    if name not in SCHEDULES:
        raise TeacherError(f"a schedule is a table, or one of {', '.join(SCHEDULES)}, not {name!r:.40}")
    return SCHEDULES[name]()


def ask(
    network: nn.Module, state: Tensor, time: Tensor, label: Tensor | None, condition: Tensor | None = None
) -> Tensor:
    """The tensor that a denoising network returns. told: what it is told beside, where it takes that."""
    arguments = (state, time) if label is None else (state, time, label)
    raw = network(*arguments) if condition is None else network(*arguments, condition=condition)
    answer = raw if isinstance(raw, Tensor) else getattr(raw, "sample", raw)
    if not isinstance(answer, Tensor):
        raise TeacherError(f"a denoising network returns a tensor, or has it as 'sample', not {type(raw).__name__}")
    return answer


def preconditioned(state: Tensor, sigma: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
    """(what EDM's network is given of a state, its times (B,))."""
    return state / (sigma**2 + deviation**2).sqrt(), sigma.flatten().log() / 4


def to_clean(
    prediction: str, answer: Tensor, state: Tensor, alpha: Tensor, sigma: Tensor, deviation: float = 0.5
) -> Tensor:
    """The clean sample in what a network answered about `state`."""
    if prediction == "sample":
        return answer
    if prediction == "epsilon":
        return (state - sigma * answer) / alpha
    if prediction == "v_prediction":
        return alpha * state - sigma * answer
    if prediction == "flow":
        return state - sigma * answer
    total = sigma**2 + deviation**2
    return deviation**2 / total * state + sigma * deviation / total.sqrt() * answer
