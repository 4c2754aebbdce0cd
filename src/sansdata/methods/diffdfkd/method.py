"""DiffDFKD: data-free knowledge distillation with diffusion models (Qi et al., ICME 2025, arXiv 2504.00870).

No generator is trained: a frozen denoiser draws the images, and at each step of its sampling the teacher moves them a
little, by its BatchNorm statistics, the wanted class, and where the student disagrees. What the denoiser knows of the
world comes from its own data: that is outside knowledge, and a run says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Access, Losses, Requirements, Stateful
from ...errors import MethodError
from ...figures import Figure, Finding, Warned
from ...memory import Pool, Slot
from ...method import Context
from ...models.modes import fixed
from ...objectives.logits import cross_entropy, decision_adversarial
from ...synthesis.augment import Augment
from ...synthesis.inner_loop import Chunked
from ...synthesis.labels import class_blocks
from ...synthesis.rounds import PooledRounds, Round, Schedule
from ...training.transfer import TransferSettings
from .cutmix import cutmix
from .prior import Prior, PriorSettings

BEFORE_ADVERSARIAL = 20
"""Images of each class in the pool before the student is asked (released)."""
PARTS = 5
"""Of a trajectory; boxes are exchanged at the last time of each but the last (released)."""


class DiffDFKDConfig(Strict):
    """Defaults are the released values (re-created code, commit 0f6e50a) where they are known; pixels are the prior's.

    prior: the denoiser. times: steps of its sampler. bn, ce, adversarial: weights of the teacher's three terms. stride:
    how far a step of the guidance moves an image, in units of the noise that is in it; None moves by the gradient
    itself, as released, which fits latents of unit variance.
    """

    prior: PriorSettings = PriorSettings()
    times: int = pydantic.Field(default=50, ge=2)  # released
    bn: float = pydantic.Field(default=0.1, ge=0)  # released
    ce: float = pydantic.Field(default=1.0, ge=0)  # released
    adversarial: float = pydantic.Field(default=0.0, ge=0)  # released for distillation; 1 where nothing is said
    stride: float | None = pydantic.Field(default=1.0, gt=0)  # ours; released: None
    cutmix: bool = False  # released
    batch: int = pydantic.Field(default=64, ge=2)  # ours: BatchNorm's statistics are of many; released: 1
    chunk: int = pydantic.Field(default=5, ge=1)  # times a move: ours
    pool: int = pydantic.Field(default=50_000, ge=1)  # ours
    steps_per_batch: int = pydantic.Field(default=40, ge=1)  # student steps for each batch drawn: ours
    view: Augment = "crop+flip"  # ours
    steps: int = pydantic.Field(default=40_000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(lr=0.1, weight_decay=5e-4, batch=256, temperature=30.0)  # released


class UnderWay(Chunked):
    """A batch that is being drawn: its noisy states, the classes that it is to show, how far it is."""

    def __init__(self, states: Tensor, targets: Tensor, iterations: int, chunk: int) -> None:
        super().__init__(iterations, chunk)
        self.states, self.targets = states, targets

    def state_dict(self) -> dict[str, Any]:
        return {"states": self.states, "targets": self.targets, "iteration": self.iteration}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.states, self.targets, self.iteration = state["states"], state["targets"], state["iteration"]


class DiffDFKD(PooledRounds):
    """Draws a batch over several moves, keeps it, teaches for a while from all that was kept, and begins again.

    Deviation: whole trajectories are kept; the release also teaches the half-finished images of four of its times. The
    student that is taught in turn is the one that is kept, and it learns by the outputs alone: the class activation
    maps of the paper (mSARC) are not in the released code.
    """

    Config: ClassVar[type] = DiffDFKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {"stride": None, "adversarial": 1.0},
        # Minutes on a CPU with a small denoiser (ours).
        "small": {
            "times": 20, "steps_per_batch": 60, "steps": 900,
            "transfer": {"batch": 128, "temperature": 4.0, "lr": 0.05},
        },
    }  # fmt: skip
    config: DiffDFKDConfig

    @classmethod
    def requires(cls, config: DiffDFKDConfig) -> Requirements:
        prior = "" if config.prior.model else (
            "prior.model=SPEC, a denoiser that somebody has trained, such as a folder of a diffusers pipeline"
        )  # fmt: skip
        access = Access.WEIGHTS if config.bn else Access.GRADIENTS
        return Requirements(access=access, batch_norm=config.bn > 0, setting=prior)

    @classmethod
    def models(cls, config: DiffDFKDConfig) -> Mapping[str, str]:
        return {config.prior.model: "prior (outside knowledge)"} if config.prior.model else {}

    @classmethod
    def round_of(cls, config: DiffDFKDConfig) -> Round:
        return Round(config.steps_per_batch, moves=ceil_div(config.times, config.chunk))

    @classmethod
    def rehearsal(cls, config: DiffDFKDConfig) -> DiffDFKDConfig:
        return config.model_copy(update={"times": max(2, min(config.chunk, config.times)), "steps_per_batch": 2})

    def __init__(self, config: DiffDFKDConfig, context: Context) -> None:
        """Raises ConfigError without a prior, TeacherError where it cannot be read, MethodError for too few images of a
        class to exchange boxes between them."""
        super().__init__(config, context)
        if config.cutmix and config.batch < 2 * context.task.classes:
            raise MethodError(
                f"cutmix exchanges boxes between images of one class: a batch of {config.batch} has less than two of "
                f"each of {context.task.classes} classes. Give batch={2 * context.task.classes} or more"
            )
        with context.streams.as_global("prior", shared=True):
            self.prior = Prior(config.prior, context.task, context.runtime)
        self.times = self.prior.times(config.times)
        self.bn = context.teacher.statistics(config.bn > 0)
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config))
        blank = torch.zeros(config.batch, *self.prior.shape, device=context.runtime.device)
        nothing = torch.zeros(config.batch, dtype=torch.int64, device=context.runtime.device)
        self.under_way = UnderWay(blank, nothing, config.times, config.chunk)
        self.drawn = Slot(prior=self.prior.sha256, kept=0, right=0)

    @property
    def guided(self) -> bool:
        return self.config.bn > 0 or self.config.ce > 0 or self.config.adversarial > 0

    def acquire(self) -> Losses:
        """Raises MethodError where the run was begun with another prior."""
        batch, losses = self.under_way, Losses()
        if self.drawn["prior"] != self.prior.sha256:
            raise MethodError(f"prior.model '{self.prior.source}' is not the one that this run was begun with")
        if batch.iteration == 0:
            self._begin()
        for _ in range(batch.in_this_move):
            step_losses = self._advance()
            losses = step_losses if step_losses.terms else losses  # the last time asks nobody
        if batch.finished:
            self._keep()
            batch.iteration = 0
            self.schedule.begin_steps()
        return losses

    def _begin(self) -> None:
        """Pure noise, and as many images of each class as of the others."""
        config, context, batch = self.config, self.context, self.under_way
        batch.states = self.prior.noise(config.batch, context.streams("noise")) * self.prior.denoiser.schedule.scale
        batch.targets = class_blocks(config.batch, context.task.classes, context.streams("labels")).to(
            context.runtime.device
        )

    def _advance(self) -> Losses:
        """One time of the sampler; the last one ends at the clean picture."""
        batch, stream = self.under_way, self.context.streams("sampler")
        number, last = batch.iteration, batch.iteration == self.config.times - 1
        now = self.times[number]
        # Deviation: the release guides every time but the last one, and draws the last picture from the noise that it
        # saw a step before.
        losses = self._guide(now) if self.guided and not last else Losses()
        if self.config.cutmix and not last and (number + 1) % max(1, self.config.times // PARTS) == 0:
            batch.states = cutmix(batch.states, batch.targets, self.context.streams("boxes"))
        with torch.no_grad():
            clean = self._clean(batch.states, now)
            noise = self.prior.noise(len(clean), stream)
            batch.states = (
                clean if last else self.prior.earlier(batch.states, clean, now, self.times[number + 1], noise)
            )
        batch.iteration += 1
        return losses

    def _clean(self, states: Tensor, time: float) -> Tensor:
        self.context.counters.add("prior_forwards", len(states))
        return self.prior.clean(states, time)

    def _guide(self, time: float) -> Losses:
        """Moves the states down the gradient of the teacher's terms, which passes through the denoiser."""
        config, batch = self.config, self.under_way
        states = batch.states.detach().requires_grad_()
        losses = self._losses(self.prior.images(self._clean(states, time)))
        (slope,) = torch.autograd.grad(losses.total() * len(states), states)
        if config.stride is None:
            batch.states = states.detach() - slope
            return losses
        # Deviation: of a length that the noise in the image can hide, whatever the scale of the loss.
        length = slope.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        batch.states = states.detach() - config.stride * self.prior.spread(time) * slope / length
        return losses

    def _losses(self, images: Tensor) -> Losses:
        """What the teacher says of the clean images (B, C, H, W), and the student where it disagrees."""
        config, context, targets = self.config, self.context, self.under_way.targets
        outputs = context.teacher(images, self.bn.taps)
        losses = context.acquire_losses(images, outputs)
        losses.add("ce", config.ce, lambda: cross_entropy(outputs.logits, targets))
        losses.add("bn", config.bn, lambda: self.bn(outputs.taps))
        if len(self.pool) >= BEFORE_ADVERSARIAL * context.task.classes:
            losses.add("adversarial", config.adversarial, lambda: self._disagreement(images, outputs.logits))
        return losses

    def _disagreement(self, images: Tensor, teacher: Tensor) -> Tensor:
        with fixed(self.context.student):
            return decision_adversarial(self.context.student_outputs(images).logits, teacher.detach())

    @torch.no_grad()
    def _keep(self) -> None:
        batch = self.under_way
        images = self.prior.images(batch.states)
        named = self.context.teacher(images).logits.argmax(1)
        self.drawn["right"] += int((named == batch.targets).sum())
        self.drawn["kept"] += len(images)
        self.keep(images, batch.targets)

    def findings(self) -> list[Finding]:
        kept = max(1, self.drawn["kept"])
        return [
            Figure("class_hit", self.drawn["right"] / kept, "share",
                   "images that the teacher takes for the class it steered them to; it would be high of nonsense too"),
            Figure("prior_calls", self.context.counters["prior_forwards"] / kept, "number", "of the denoiser an image"),
        ]  # fmt: skip

    def warnings(self) -> list[Warned]:
        return [Warned(
            "outside_knowledge", None,
            f"the images were drawn by a generator that was trained on data ({self.prior.source}, SHA-256 "
            f"{self.prior.sha256[:16]}): what the student knows of the world comes from there too. Where that were the "
            "teacher's own data, this run would be a copy of them in another form",
        )]  # fmt: skip

    def state(self) -> Mapping[str, Stateful]:
        return {"under_way": self.under_way, "pool": self.pool, "schedule": self.schedule, "drawn": self.drawn}
