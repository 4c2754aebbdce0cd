"""One set of images of one API: a generator and its latents, made anew and fitted to the API's answers, over several
moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ...contracts import Losses, Outputs, Stateful
from ...memory import Slot
from ...method import Context
from ...models.generators import UpsamplingGenerator
from ...objectives.estimate import estimated
from ...objectives.logits import cross_entropy, kl
from ...synthesis.augment import augment
from ...teachers.panel import Api
from .settings import BiDfMKDConfig

Answer = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in unit space -> logits (B, N), with their gradient."""


class Maker(nn.Module):
    """A generator with the latents of one set of images."""

    def __init__(self, generator: UpsamplingGenerator, count: int, latent: int) -> None:
        super().__init__()
        self.generator = generator
        self.codes = nn.Parameter(torch.zeros(count, latent))

    def draw(self) -> None:
        """Everything afresh, from torch's global generator: weights N(0, 0.02), of BatchNorm N(1, 0.02), biases 0,
        latents N(0, 1) (released)."""
        for part in self.generator.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                nn.init.normal_(part.weight, 0.0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                part.reset_running_stats()
                nn.init.normal_(part.weight, 1.0, 0.02)
            else:
                continue
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.codes)

    def forward(self) -> Tensor:
        """Images (count, C, H, W) in unit space."""
        return self.generator(self.codes)


class Recovery:
    """The set that is being made: its images, class by class, as many of each."""

    def __init__(self, config: BiDfMKDConfig, context: Context, ways: int) -> None:
        self.config, self.context = config, context
        shape = context.task.shape
        with context.streams.as_global("generator", shared=True):
            generator = UpsamplingGenerator(config.latent, shape, config.width)
            self.maker = context.runtime.place(Maker(generator, ways * config.images, config.latent))
        self.labels = context.runtime.place(torch.arange(ways).repeat_interleave(config.images))
        self.optimizer = self._new_optimizer()
        self.place = Slot(iteration=0, lowest=float("inf"), best=torch.empty(0))

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.maker.parameters(), lr=self.config.generator_lr, betas=(0.5, 0.999))

    @property
    def fresh(self) -> bool:
        """Whether the next iteration begins a set."""
        return self.place["iteration"] == 0

    @property
    def best(self) -> Tensor:
        """The images, in unit space, of the iteration whose loss was lowest.

        Deviation: by the measured loss; the released code compares what the estimated gradient is multiplied with.
        """
        return self.place["best"]

    def advance(self, api: Api, task_model: Answer | None) -> tuple[Losses, bool]:
        """A chunk of iterations; whether the set is whole then. task_model: the adapted student, for a boundary set."""
        if self.fresh:
            with self.context.streams.as_global("recovery"):
                self.maker.draw()
            self.maker.train()
            self.optimizer = self._new_optimizer()
            self.place["lowest"] = float("inf")
        losses, stop = Losses(), min(self.config.iterations, self.place["iteration"] + self.config.chunk)
        while self.place["iteration"] < stop:
            losses = self._iterate(api, task_model)
        whole = stop == self.config.iterations
        if whole:
            self.place["iteration"] = 0
        return losses, whole

    def _iterate(self, api: Api, task_model: Answer | None) -> Losses:
        images = self.maker()
        views = augment(images, self.config.view, self.context.streams("view"))
        answers = self._answers(api, views)
        losses = self.context.acquire_losses(views, Outputs(answers))
        losses.add("ce", 1, lambda: cross_entropy(answers, self.labels))
        if task_model is not None:
            losses.add("boundary", self.config.boundary, lambda: self._near_boundary(answers, task_model(views)))
        total = losses.total()
        if (value := total.item()) < self.place["lowest"] or self.fresh:
            self.place["lowest"], self.place["best"] = value, images.detach().clone()
        total.backward()
        # Not runtime.step: every rank has a generator of its own, there is nothing to average.
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.place["iteration"] += 1
        return losses

    def _answers(self, api: Api, seen: Tensor) -> Tensor:
        """What the API says of images in unit space, with its own gradient or with one by differences, taken in the
        space of its normalised images.

        Deviation: differences of its answers, times the exact slope of the loss in them; the paper takes those of the
        loss itself. The queries are the same. A student's answers in the loss keep their exact gradient so, and the
        mask of the boundary term, which would jump from point to point, is that of the image itself.
        """
        if self.config.recovery == "exact":
            return api(seen).value

        def ask(points: Tensor) -> Tensor:
            with torch.no_grad():
                return api(api.pixels.undo(points)).value

        return estimated(ask, api.pixels(seen), self.config.differences, self.context.streams("directions"))

    def _near_boundary(self, api: Tensor, task_model: Tensor) -> Tensor:
        """(B,) minus the distance of the two answers (B, N) where both name the same class: images that the API takes
        for their class, and the student only just. The released l1 is a sum over classes."""
        agree = (api.argmax(1) == task_model.argmax(1)).to(api.dtype)
        distance = kl(task_model, api) if self.config.distance == "kl" else (task_model - api).abs().sum(1)
        return -agree * distance

    def state(self) -> Mapping[str, Stateful]:
        return {"maker": self.maker, "maker_optimizer": self.optimizer, "recovery": self.place}
