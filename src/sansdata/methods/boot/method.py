"""BOOT: a denoiser into a generator in one step, from noise alone (Gu et al. 2023, arXiv 2306.05544; ICML 2024).

The student reads noise and a share of the way, and gives the signal of the teacher's deterministic trajectory there.
Each step asks the teacher at one point, which the student itself has produced: no data, no stored trajectory, no
target network.

Ours beside the paper: with `calls` the student also learns trajectories that start further down, at states to which it
walked itself, so that it is sampled in one call or in several.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ...columns import Inputs
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError, StudentError
from ...figures import Finding
from ...kinds.index import input_kind
from ...memory import Slot
from ...method import Context, Method
from ...models.diffusion.denoiser import Denoiser
from ...models.diffusion.schedules import Trajectory, beside
from ...models.diffusion.steerable import Steerable, starts_of
from ...models.modes import fixed
from .settings import BOOTConfig
from .watched import WATCHED, Watched

LEAST = 1e-3
"""Of 1 - r: steps that short weigh no more."""
WARMUP = 500
"""Steps of a student that does not begin with the teacher's own answer."""
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class BOOT(Method):
    """Every batch is noise drawn afresh; what is kept is the slow copy of the student that is evaluated."""

    Config: ClassVar[type] = BOOTConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"anchored": False},
        # Minutes on a CPU, for points and small pictures (ours): few long steps reach the sample in fewer generations.
        "small": {
            "delta": 0.1, "solver": "heun", "ema": 0.995, "steps": 6000,
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
        self.pushes = config.guidance not in (None, self.denoiser.guidance)
        """Whether the teacher is asked with a guidance that is not its own."""
        if self.pushes and self.denoiser.null is None:
            raise MethodError("boot: guidance needs a teacher that was trained without labels too (its null label)")
        self.path = Trajectory.of(self.denoiser.schedule, config.anchored)
        at_teacher = getattr(context.student, "starts_at_teacher", False) and not self.pushes
        self.warmup = config.warmup if config.warmup is not None else 0 if at_teacher else WARMUP
        self.followed = Slot(steps=0)

    def build_student(self, student: nn.Module) -> nn.Module:
        """Told of its starts and of guidance, where there are such. Raises MethodError where it cannot be."""
        config = self.config
        if config.calls > 1 or config.guided:
            if not isinstance(student, Steerable):
                raise MethodError(
                    "boot: a student of several calls or of a range of guidance is told which, and "
                    f"{type(student).__name__} cannot be told. Take point-net, picture-net or one-step"
                )
            try:
                student.tell(config.calls, config.guided)
            except StudentError as fault:
                raise MethodError(f"boot: {fault}") from None
            if config.calls > 1:
                student.starts.copy_(starts_of(self.denoiser.schedule, config.calls))
            if isinstance(config.guidance, tuple):
                student.strengths.copy_(torch.tensor(config.guidance))
            self.context.runtime.place(student)
        for module in student.modules():  # a step has two passes of the student, which must be of one network
            if isinstance(module, DROPOUT):
                module.p = 0.0
        self.slow = copy.deepcopy(student).requires_grad_(False)
        return student

    def architecture(self, own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        config = self.config
        if own is None or own.get("kind") == "steered" or not (config.calls > 1 or config.guided):
            return own
        return {"kind": "steered", "calls": config.calls, "guided": config.guided, "of": own}

    def next_move(self) -> str:
        return "transfer"

    # -- a step

    def transfer_batch(self) -> Batch:
        self._follow()
        context, config = self.context, self.config
        count, device = config.transfer.batch, context.runtime.device
        started = self._started(context.runtime.place(self.kind.draw(count, context.streams("noise"))))
        share = torch.rand(count, generator=context.streams("times")).to(device)
        context.counters.add("samples", count)
        first = max(1, round(config.boundary_share * count))
        top = started.get("start", 1.0)
        if context.progress.steps < self.warmup:
            extras = {"target": self._seen_at_start(started), "weight": torch.ones(count, device=device)}
            return Batch(_with_time(started, top * share), extras=extras)
        now = config.delta + (top - config.delta) * share
        extras = {"now": now, "weight": self._weights(started, now)}
        if not config.target_grad:
            with torch.no_grad(), fixed(context.student):
                extras["target"] = self._target(context.student_outputs, started, now)
        if config.boundary:
            extras["boundary"] = self._seen_at_start({name: column[:first] for name, column in started.items()})
        return Batch(_with_time(started, now - config.delta), extras=extras)

    def _started(self, drawn: Inputs) -> dict[str, Tensor]:
        """The columns of a batch: noise, label, how strongly it is pushed, and from where each sample starts.

        Deviation: each start is followed down to the sample and not to the next start alone (the card's segments), so
        that a student of several calls can be sampled in fewer.
        """
        config, context = self.config, self.context
        started = named(drawn)
        noise, count = started["noise"], len(started["noise"])
        if isinstance(config.guidance, tuple):
            low, high = config.guidance
            chance = torch.rand(count, generator=context.streams("guidance")).to(noise.device)
            started["guidance"] = low + (high - low) * chance
        if config.calls > 1:
            place = torch.randint(config.calls, (count,), generator=context.streams("starts")).to(noise.device)
            with torch.no_grad(), fixed(context.student):
                started["noise"] = self._walked(started, place)
            started["start"] = context.student.starts[place, 0].to(noise.dtype)  # type: ignore[index]
        return started

    def _walked(self, started: Mapping[str, Tensor], place: Tensor) -> Tensor:
        """(B, *shape) the noise of each sample at its start `place` (B,), to which the student walks from the first."""
        student, noise = self.context.student, started["noise"].clone()
        assert isinstance(student, Steerable)
        for then in range(1, self.config.calls):
            moving = place >= then
            if not moving.any():
                break
            part = {name: column[moving] for name, column in started.items()} | {"noise": noise[moving]}
            begun, goal = (student.share(one, part["noise"]) for one in (then - 1, then))
            signal = self.context.student_outputs(_with_time(part | {"start": begun}, goal)).value
            noise[moving] = student.onward(part["noise"], signal, then - 1, then)
        return noise

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, extras = Losses(), batch.extras
        made = student(batch.inputs).value
        target = extras.get("target")
        if target is None:
            target = self._target(student, batch.inputs, extras["now"])
        name = "warmup" if "now" not in extras else "bootstrap"
        losses.add(name, 1, lambda: extras["weight"] * self._distance(made, target))
        at_boundary = extras.get("boundary")
        if at_boundary is not None:
            some = {key: column[: len(at_boundary)] for key, column in batch.inputs.items()}  # type: ignore[union-attr]
            at_start = student(_with_time(some, _start_of(some))).value
            losses.add("boundary", self.config.boundary, lambda: self._distance(at_start, at_boundary))
        return losses

    def _target(self, student: Forward, inputs: Inputs, now: Tensor) -> Tensor:
        """Where the teacher's step leads from the student's own signal at `now` (B,), a share of the way."""
        assert not isinstance(inputs, Tensor)
        signal = student(_with_time(inputs, now)).value
        (start, _), path = self._start(inputs), self._path(inputs)
        time, earlier = self._time(now), self._time(now - self.config.delta)
        answer = self._clean(path.state(start, signal, time), time, inputs)
        kept = beside(path.kept(time, earlier), signal)
        target = kept * signal + (1 - kept) * answer
        if self.config.solver == "heun":
            again = self._clean(path.state(start, target, earlier), earlier, inputs)
            target = kept * signal + (1 - kept) * (answer + again) / 2
        return target

    def _weights(self, inputs: Mapping[str, Tensor], now: Tensor) -> Tensor:
        """(B,) 1 / (1 - r)^2, so that all times regress something of the size of f - y."""
        if self.config.weight == "even":
            return torch.ones_like(now)
        kept = self._path(inputs).kept(self._time(now), self._time(now - self.config.delta))
        return (1 - kept).clamp_min(LEAST).pow(-2).to(now.dtype)

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        """(B,) the mean over the numbers of a sample."""
        if self.config.distance == "huber":
            return F.huber_loss(one, other, reduction="none").flatten(1).mean(1)
        return (one - other).square().flatten(1).mean(1)

    # -- the teacher

    def _time(self, share: Tensor) -> Tensor:
        """The schedule's times at shares of the way, float64."""
        return self.denoiser.schedule.at(share.double().clamp(0, 1))

    def _path(self, inputs: Mapping[str, Tensor]) -> Trajectory:
        return (
            Trajectory.starting(self.denoiser.schedule, self._time(inputs["start"])) if "start" in inputs else self.path
        )

    def _start(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(the states (B, *shape) where samples start, the times (B,) there)."""
        schedule, time = self.denoiser.schedule, self._time(_start_of(inputs))
        return inputs["noise"] * beside(schedule.size(time), inputs["noise"]), time

    def _seen_at_start(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """f(x_T, T), or the same of a later start: the only signal of a start that says nothing of itself."""
        with torch.no_grad():
            return self._clean(*self._start(inputs), inputs)

    def _clean(self, state: Tensor, time: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """One counted question, two with guidance."""
        guidance, label, pushed = self.config.guidance, inputs.get("label"), None
        if self.pushes:
            pushed = inputs["guidance"] if self.config.guided else torch.full_like(time, guidance, dtype=state.dtype)  # type: ignore[arg-type]
        asks = 2 if label is not None and (pushed is not None or self.denoiser.guidance != 1) else 1
        self.context.counters.add("teacher_forwards", asks * len(state))
        with self.context.runtime.autocast():
            return self.denoiser.clean(state, time.to(state.dtype), label, pushed).to(state.dtype)

    # -- what leaves

    @torch.no_grad()
    def _follow(self) -> None:
        """The slow copy after the step before this one; where fewer steps were made than `ema` looks back on, the
        newest tenth of them counts most."""
        if not self.context.progress.steps or self.released(self.context.student) is not self.slow:
            return
        steps = self.followed["steps"] + 1
        rate = min(self.config.ema, (1 + steps) / (10 + steps))
        for slow, fast in zip(self.slow.parameters(), self.context.student.parameters()):
            slow.lerp_(fast.detach(), 1 - rate)
        for slow, fast in zip(self.slow.buffers(), self.context.student.buffers()):
            slow.copy_(fast)
        self.followed["steps"] = steps

    def released(self, student: nn.Module) -> nn.Module:
        """The slow copy: it makes better samples. A student at few bits is its own."""
        return student if any(map(parametrize.is_parametrized, student.modules())) else self.slow

    def findings(self) -> list[Finding]:
        """How far the slow copy is from the teacher's trajectories, on noises of its own."""
        context = self.context
        drawn = context.runtime.place(self.kind.draw(WATCHED, torch.Generator().manual_seed(0)))
        network = context.network.around(self.released(context.student))
        watched = Watched(
            self.denoiser, network.module, lambda inputs: context.runtime.forward(network, inputs).value, named(drawn),
            self.config.guidance if isinstance(self.config.guidance, tuple) else None, context.task.outputs.width,
        )  # fmt: skip
        with torch.no_grad(), fixed(network.module):
            return watched.findings(self.config.calls)

    def state(self) -> Mapping[str, Stateful]:
        return {"slow": self.slow, "followed": self.followed}


def named(drawn: Inputs) -> dict[str, Tensor]:
    """Noise, and a label where there is one, by name."""
    return {"noise": drawn} if isinstance(drawn, Tensor) else dict(drawn)


def _start_of(inputs: Mapping[str, Tensor]) -> Tensor:
    """(B,) the share of the way at which each sample starts."""
    return inputs["start"] if "start" in inputs else torch.ones(len(inputs["noise"]), device=inputs["noise"].device)


def _with_time(inputs: Inputs, share: Tensor) -> dict[str, Tensor]:
    """The columns of a batch with the share of the way (B,) that is wanted."""
    return {**named(inputs), "time": share}
