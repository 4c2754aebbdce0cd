"""A generator that is paid where the student disagrees with the teacher: what ZSKT and DFAD share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..contracts import Batch, Losses, Outputs, Stateful
from ..method import Context
from ..models.generators import Range
from ..models.modes import fixed
from .ema import EMAGenerator, EMASettings
from .generator import Width, images_from, latents, make_generator


class Adversary:
    """The generator, its optimiser (Adam), and its slow copy where one is asked for."""

    def __init__(self, context: Context, latent: int, width: Width, range: Range, lr: float, ema: EMASettings) -> None:
        self.context, self.latent, self.lr = context, latent, lr
        self.generator = make_generator(context, latent, width, range, conv_bias=True)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=lr)
        self.ema = EMAGenerator(ema, self.generator, latent)

    def codes(self, count: int) -> Tensor:
        """(count, Z) fresh latents."""
        return latents(count, self.latent, self.context)

    def step(
        self,
        codes: Tensor,
        disagreement: Callable[[Outputs, Outputs], Tensor],
        weight: float = 1.0,
        decay: float = 1.0,
        clip: float | None = None,
    ) -> Losses:
        """One step of the generator on -weight * disagreement(student, teacher), which is (B,), at images of `codes`.

        decay: factor on the learning rate. clip: bound on the gradient's norm. The student runs in train mode, as in
        both released codes, so these images too count in its BatchNorm statistics.
        """
        context = self.context
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * decay
        images = images_from(self.generator, codes, context)
        with fixed(context.student, train=True):
            student, teacher = context.student_outputs(images), context.teacher(images)
            losses = context.acquire_losses(images, teacher)
            losses.add("disagreement", -weight, lambda: disagreement(student, teacher))
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
