"""A generator that is paid where the student disagrees with the teacher: what ZSKT and DFAD share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Losses, OfGradient, Outputs, Questions, Requirements, Stateful
from ..method import Context
from ..models.generators import Range
from ..models.modes import fixed
from .ema import EMAGenerator, EMASettings
from .generator import Form, Width, images_from, latents, make_generator


class AdversarySettings(Strict):
    """What both methods let one choose of the generator.

    output: how its last layer ends; 'unit' is a sigmoid, as in the port of both in zju-vipa/DataFree. bn:
    weight of the distance to the teacher's BatchNorm statistics, DeepInversion's, in the place where DFQ (Choi et al.
    2020) has a divergence of Gaussians; 0 asks for none.
    """

    latent: int = pydantic.Field(ge=1)
    width: Width = "auto"  # released, both: 64
    generator_lr: float = pydantic.Field(default=1e-3, gt=0)  # released, both
    output: Range
    bn: float = pydantic.Field(default=0.0, ge=0)
    ema: EMASettings = EMASettings()  # MAD's; off

    @property
    def requirements(self) -> Requirements:
        return Requirements(access=Access.WEIGHTS if self.bn else Access.GRADIENTS, batch_norm=self.bn > 0)

    def questions(self, batch: int, steps: int, batches: int, gradient: OfGradient) -> Questions | None:
        """What is asked in so many steps of the generator, and for so many batches of answers; None with a slow copy,
        which is asked too."""
        return None if self.ema.weight else questions_of_game(batch, steps, batches, gradient)


def questions_of_game(batch: int, steps: int, batches: int, gradient: OfGradient) -> Questions:
    """What is asked in so many steps of a generator, each on one batch with a gradient, and for so many batches of
    answers to learn from."""
    calls = Questions({batch: batches})
    for rows, times in gradient(batch).items():
        calls[rows] += times * steps
    return calls


class Adversary:
    """The generator, its optimiser (Adam), and its slow copy where one is asked for."""

    def __init__(self, context: Context, settings: AdversarySettings, form: Form = "upsampling") -> None:
        self.context, self.settings = context, settings
        self.generator = make_generator(
            context, settings.latent, settings.width, settings.output, conv_bias=True, form=form
        )
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=settings.generator_lr)
        self.ema = EMAGenerator(settings.ema, self.generator, settings.latent)
        self.bn = context.teacher.statistics() if settings.bn else None

    def codes(self, count: int) -> Tensor:
        """(count, Z) fresh latents."""
        return latents(count, self.settings.latent, self.context)

    def step(
        self,
        codes: Tensor,
        disagreement: Callable[[Outputs, Outputs], Tensor],
        weight: float = 1.0,
        decay: float = 1.0,
        clip: float | None = None,
        bounded: bool = False,
    ) -> Losses:
        """One step of the generator on -weight * disagreement(student, teacher), which is (B,), at images of `codes`.

        decay: factor on the learning rate. clip: bound on the gradient's norm. bounded: by log(1 + mean disagreement)
        instead, whose gradient falls where that is large. The student runs in train mode, as in both released codes, so
        these images too count in its BatchNorm statistics.
        """
        context = self.context
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.generator_lr * decay
        images = images_from(self.generator, codes, context)
        with fixed(context.student, train=True):
            student, teacher = context.student_outputs(images), context.teacher(images, self.bn.taps if self.bn else ())
            losses = context.acquire_losses(images, teacher)
            if bounded:
                losses.add("disagreement", -weight, lambda: disagreement(student, teacher).mean().log1p())
            else:
                losses.add("disagreement", -weight, lambda: disagreement(student, teacher))
            if self.bn:
                statistics = self.bn(teacher.taps)
                losses.add("bn", self.settings.bn, lambda: statistics)
            losses.total().backward()
        context.runtime.step(self.optimizer, clip)
        self.ema.follow(self.generator)
        return losses

    def batch(self, codes: Tensor) -> Batch:
        """Images of `codes` (B, Z), without gradient, with the teacher's answers; those of the slow copy behind."""
        with torch.no_grad():
            images = images_from(self.generator, codes, self.context)
        self.context.counters.add("samples", len(images))
        return self.ema.join(self.context.teach(images), self.context)

    def state(self) -> Mapping[str, Stateful]:
        return {"generator": self.generator, "optimizer": self.optimizer} | dict(self.ema.state())
