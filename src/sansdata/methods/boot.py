"""BOOT: a denoiser into a generator in one step, from noise alone (Gu et al. 2023, arXiv 2306.05544; ICML 2024).

The student reads noise and a share of the way, and gives the signal of the teacher's deterministic trajectory there.
Each step asks the teacher at one point, which the student itself has produced: no data, no stored trajectory, no
target network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..columns import Inputs
from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ..errors import MethodError
from ..figures import Drawing, Figure, Finding
from ..kinds.index import input_kind
from ..kinds.inputs.noise import noise_of
from ..memory import Slot
from ..method import Context, Method
from ..models.diffusion.denoiser import Denoiser
from ..models.diffusion.schedules import Trajectory, beside
from ..models.modes import fixed
from ..training.transfer import TransferSettings

LEAST = 1e-3
"""Of 1 - r: steps that short weigh no more."""
WATCHED, SHARES = 64, 20
"""Noises, and steps of the teacher's sampler, on which the student is compared with the teacher's trajectories."""
WARMUP = 500
"""Steps of a student that does not begin with the teacher's own answer."""


class BOOTConfig(Strict):
    """delta: the share of the way between two times of a step. boundary: beta, the weight of what the teacher sees in
    pure noise; boundary_share: of the batch, on which it is taken. weight: 'steps' divides by (1 - r)^2, 'even' does
    not. anchored: exact on every schedule; without, the paper's form, which wants a schedule that ends in pure noise.
    warmup: steps on the boundary alone, at all times; None is none for a student that starts at it, else 500. guidance:
    of the teacher, in place of its own. target_grad: gradients pass through the target and the teacher too.

    Where the paper could not be read "memory" marks what is said of it elsewhere.
    """

    delta: float = pydantic.Field(default=0.04, gt=0, lt=0.5)  # memory
    boundary: float = pydantic.Field(default=0.5, ge=0)  # memory
    boundary_share: float = pydantic.Field(default=1.0, gt=0, le=1)  # paper: the whole batch
    weight: Literal["steps", "even"] = "steps"
    distance: Literal["l2", "huber"] = "l2"
    solver: Literal["euler", "heun"] = "euler"
    anchored: bool = True  # ours; the paper's form is the preset 'paper'
    warmup: int | None = pydantic.Field(default=None, ge=0)  # ours
    guidance: float | None = pydantic.Field(default=None, ge=0, le=100)
    ema: float = pydantic.Field(default=0.9999, ge=0, lt=1)  # paper: of the weights that are evaluated
    target_grad: bool = False
    steps: int = pydantic.Field(default=100_000, ge=1)  # ours: "hundreds of thousands" at scale
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-4, weight_decay=0.0, schedule="constant", batch=64, match="mse", clip=1.0
    )  # ours


class BOOT(Method):
    """Every batch is noise drawn afresh; what is kept is the slow copy of the student that is evaluated."""

    Config: ClassVar[type] = BOOTConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"anchored": False},
        # Minutes on a CPU, for points and small pictures (ours).
        "small": {
            "ema": 0.995, "steps": 6000,
            "transfer": {"lr": 2e-3, "schedule": "cosine", "batch": 256, "clip": 5.0},
        },
    }  # fmt: skip
    config: BOOTConfig

    @classmethod
    def requires(cls, config: BOOTConfig) -> Requirements:
        return Requirements(
            access=Access.SCORES, capabilities=frozenset({"denoises"}), inputs=frozenset({"noise"}),
            outputs=frozenset({"field"}),
        )  # fmt: skip

    @classmethod
    def moves_inputs(cls, config: BOOTConfig) -> bool:
        return False

    @classmethod
    def plan(cls, config: BOOTConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def __init__(self, config: BOOTConfig, context: Context) -> None:
        """Raises MethodError for guidance of a teacher that does not know the answer without a label."""
        super().__init__(config, context)
        self.kind = input_kind(context.task)
        self.denoiser: Denoiser = context.teacher.capability("denoises")
        if config.guidance not in (None, 1.0) and self.denoiser.null is None:
            raise MethodError("boot: guidance needs a teacher that was trained without labels too (its null label)")
        self.path = Trajectory.of(self.denoiser.schedule, config.anchored)
        at_teacher = getattr(context.student, "starts_at_teacher", False) and config.guidance in (None, 1.0)
        self.warmup = config.warmup if config.warmup is not None else 0 if at_teacher else WARMUP
        self.slow = copy.deepcopy(context.student).requires_grad_(False)
        self.followed = Slot(steps=0)

    def next_move(self) -> str:
        return "transfer"

    # -- a step

    def transfer_batch(self) -> Batch:
        self._follow()
        context, config = self.context, self.config
        count, device = config.transfer.batch, context.runtime.device
        drawn = context.runtime.place(self.kind.draw(count, context.streams("noise")))
        share = torch.rand(count, generator=context.streams("times")).to(device)
        context.counters.add("samples", count)
        first = max(1, round(config.boundary_share * count))
        label = _label_of(drawn)
        if context.progress.steps < self.warmup:
            target = self._seen_in_noise(noise_of(drawn), label)
            return Batch(
                _with_time(drawn, share), extras={"target": target, "weight": torch.ones(count, device=device)}
            )
        now = config.delta + (1 - config.delta) * share
        extras: dict[str, Any] = {"now": now}
        extras["weight"] = self._weights(now)
        if not config.target_grad:
            with torch.no_grad(), fixed(context.student):
                extras["target"] = self._target(context.student_outputs, drawn, now)
        if config.boundary:
            extras["boundary"] = self._seen_in_noise(noise_of(drawn)[:first], None if label is None else label[:first])
        return Batch(_with_time(drawn, now - config.delta), extras=extras)

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, extras = Losses(), batch.extras
        made = student(batch.inputs).value
        target = extras.get("target")
        if target is None:
            target = self._target(student, batch.inputs, extras["now"])
        name = "warmup" if "now" not in extras else "bootstrap"
        losses.add(name, 1, lambda: extras["weight"] * self._distance(made, target))
        seen = extras.get("boundary")
        if seen is not None:
            some = {key: column[: len(seen)] for key, column in batch.inputs.items()}  # type: ignore[union-attr]
            at_start = student(_with_time(some, torch.ones(len(seen), device=seen.device))).value
            losses.add("boundary", self.config.boundary, lambda: self._distance(at_start, seen))
        return losses

    def _target(self, student: Forward, inputs: Inputs, now: Tensor) -> Tensor:
        """Where the teacher's step leads from the student's own signal at `now` (B,), a share of the way."""
        noise, label = noise_of(inputs), _label_of(inputs)
        signal = student(_with_time(inputs, now)).value
        start, time, earlier = noise * self._scale, self._time(now), self._time(now - self.config.delta)
        seen = self._clean(self.path.state(start, signal, time), time, label)
        kept = beside(self.path.kept(time, earlier), signal)
        target = kept * signal + (1 - kept) * seen
        if self.config.solver == "heun":
            again = self._clean(self.path.state(start, target, earlier), earlier, label)
            target = kept * signal + (1 - kept) * (seen + again) / 2
        return target

    def _weights(self, now: Tensor) -> Tensor:
        """(B,) 1 / (1 - r)^2, so that all times regress something of the size of f - y."""
        if self.config.weight == "even":
            return torch.ones_like(now)
        kept = self.path.kept(self._time(now), self._time(now - self.config.delta))
        return (1 - kept).clamp_min(LEAST).pow(-2).to(now.dtype)

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        """(B,) the mean over the numbers of a sample."""
        if self.config.distance == "huber":
            return F.huber_loss(one, other, reduction="none").flatten(1).mean(1)
        return (one - other).square().flatten(1).mean(1)

    # -- the teacher

    @property
    def _scale(self) -> float:
        return self.denoiser.schedule.scale

    def _time(self, share: Tensor) -> Tensor:
        """The schedule's times at shares of the way, float64."""
        return self.denoiser.schedule.at(share.double().clamp(0, 1))

    def _seen_in_noise(self, noise: Tensor, label: Tensor | None) -> Tensor:
        """f(x_T, T): the only signal of a start that says nothing of itself."""
        with torch.no_grad():
            return self._clean(noise * self._scale, self._time(torch.ones(len(noise), device=noise.device)), label)

    def _clean(self, state: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        """One counted question, two with guidance."""
        guidance = self.config.guidance
        pushed = None if guidance in (None, 1.0) else torch.full_like(time, guidance, dtype=state.dtype)
        asks = 2 if label is not None and (pushed is not None or self.denoiser.guidance != 1) else 1
        self.context.counters.add("teacher_forwards", asks * len(state))
        with self.context.runtime.autocast():
            return self.denoiser.clean(state, time.to(state.dtype), label, pushed).to(state.dtype)

    # -- what leaves

    @torch.no_grad()
    def _follow(self) -> None:
        """The slow copy after the step before this one; its first steps count evenly."""
        if not self.context.progress.steps or self.released(self.context.student) is not self.slow:
            return
        taken = self.followed["steps"] + 1
        rate = min(self.config.ema, (1 + taken) / (10 + taken))
        for slow, fast in zip(self.slow.parameters(), self.context.student.parameters()):
            slow.lerp_(fast.detach(), 1 - rate)
        for slow, fast in zip(self.slow.buffers(), self.context.student.buffers()):
            slow.copy_(fast)
        self.followed["steps"] = taken

    def released(self, student: nn.Module) -> nn.Module:
        """The slow copy: it makes better samples. A student at few bits is its own."""
        return student if any(map(parametrize.is_parametrized, student.modules())) else self.slow

    def findings(self) -> list[Finding]:
        """How far the slow copy is from the teacher's trajectories on the way, on noises of its own."""
        context = self.context
        drawn = context.runtime.place(self.kind.draw(WATCHED, torch.Generator().manual_seed(0)))
        noise, label = noise_of(drawn), _label_of(drawn)
        width, network = context.task.outputs.width, context.network.around(self.released(context.student))
        with torch.no_grad(), fixed(network.module):
            end, signals = self.denoiser.sample(noise, label, SHARES), self.denoiser.signals(noise, label, SHARES)
            errors = []
            for number, signal in enumerate(signals):
                share = torch.full((WATCHED,), 1 - number / SHARES, device=noise.device)
                made = context.runtime.forward(network, _with_time(drawn, share)).value
                errors.append([float(share[0]), _apart(made, signal) / width])
        return [
            Figure("paired_error", _apart(made, end) / width, "number",
                   f"root mean squared difference from the teacher's samples in {SHARES} steps of the same noises, of "
                   "the range", "lower"),
            Drawing("error on the way", "curve", {"student": errors[::-1]},
                    "the same at every share of the way, from the sample (0) to the noise (1)"),
        ]  # fmt: skip

    def state(self) -> Mapping[str, Stateful]:
        return {"slow": self.slow, "followed": self.followed}


def _apart(one: Tensor, other: Tensor) -> float:
    """The root mean squared difference."""
    return float((one - other).square().mean().sqrt())


def _label_of(inputs: Inputs) -> Tensor | None:
    return None if isinstance(inputs, Tensor) else inputs.get("label")


def _with_time(inputs: Inputs, share: Tensor) -> dict[str, Tensor]:
    """Noise, and a label where there is one, with the share of the way (B,)."""
    columns = {"noise": inputs} if isinstance(inputs, Tensor) else {k: v for k, v in inputs.items() if k != "time"}
    return {**columns, "time": share}
