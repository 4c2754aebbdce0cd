"""NAYER: noisy layer data generation for data-free knowledge distillation (Tran et al., CVPR 2024, arXiv 2310.00258).

The generator's input is a constant embedding of each class, which says what an image is to show; what makes images of
one class differ is a linear layer behind it, drawn anew for every batch and trained with the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import torch

from ..config import Strict
from ..contracts import Access, Batch, Losses, Requirements, Stateful
from ..memory import Pool
from ..method import Context, Method
from ..models.embeddings import read_embeddings
from ..models.initial_weights import draw_default
from ..models.modes import fixed
from ..models.noisy_layer import NoisyLayer, orthonormal
from ..objectives.batch_stats import BatchStatistics
from ..synthesis.augment import Augment
from ..synthesis.call_rounds import CallRounds, calls_for
from ..synthesis.generator import Width, images_from, make_generator
from ..synthesis.inner_loop import InnerLoop
from ..synthesis.inversion_losses import inversion_losses
from ..synthesis.labels import class_blocks
from ..synthesis.pooled import draw, keep
from ..training.transfer import TransferSettings

EMBEDDING = 512
"""Size of our own embeddings: that of the text embeddings in the paper; more where there are more classes."""


class NAYERConfig(Strict):
    """Defaults are the released CIFAR-10 values of 100 rounds. A call makes one batch; a round is several calls."""

    embeddings: str | None = None  # ours: orthonormal; the paper's are those of CLIP for the classes' names
    latent: int = pydantic.Field(default=1000, ge=1)  # released
    width: Width = "auto"  # released: 64
    redraw: bool = True  # off: the ablation, one noisy layer for the whole run
    iterations: int = pydantic.Field(default=30, ge=1)  # a call; released, 40 for CIFAR-100
    chunk: int = pydantic.Field(default=10, ge=1)  # iterations a move: ours
    generator_lr: float = pydantic.Field(default=4e-3, gt=0)  # released
    batch: int = pydantic.Field(default=400, ge=2)  # images a call; released
    bn: float = pydantic.Field(default=10.0, ge=0)  # released
    bn_momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)  # released
    ce: float = pydantic.Field(default=0.5, ge=0)  # released
    adversarial: float = pydantic.Field(default=1.33, ge=0)  # released
    generator_life: int = pydantic.Field(default=10, ge=1)  # rounds; released
    warmup_rounds: int = pydantic.Field(default=20, ge=0)  # rounds without student steps; released
    warmup_calls: int = pydantic.Field(default=10, ge=1)  # calls in each of these; released
    calls: int = pydantic.Field(default=2, ge=1)  # calls in each further round; released
    steps_per_round: int = pydantic.Field(default=400, ge=1)  # released
    pool: int = pydantic.Field(default=160_000, ge=1)  # released: (20 x 10 + 100 x 2) calls of 400 images
    view: Augment = "crop+flip"  # released
    steps: int = pydantic.Field(default=40_000, ge=1)  # released: 100 rounds of 400
    transfer: TransferSettings = TransferSettings(lr=0.2, lr_end=2e-4, temperature=20.0, batch=512)  # released


class NAYER(Method):
    """A round of synthesis calls, each over several moves, then student steps on everything kept so far."""

    Config: ClassVar[type] = NAYERConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours), after FM's: short rounds, whose one call makes few steps; the generator stays.
        "small": {
            "latent": 256, "iterations": 5, "batch": 256, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0,
            "generator_life": 1000, "warmup_rounds": 1, "warmup_calls": 5, "calls": 1, "steps_per_round": 40,
            "steps": 1000, "transfer": {"batch": 128},
        },
    }  # fmt: skip

    @classmethod
    def requires(cls, config: NAYERConfig) -> Requirements:
        return Requirements(access=Access.WEIGHTS if config.bn else Access.GRADIENTS, batch_norm=config.bn > 0)

    @classmethod
    def reads(cls, config: NAYERConfig) -> dict[Path, str]:
        return {} if config.embeddings is None else {Path(config.embeddings): "embeddings"}

    @classmethod
    def plan(cls, config: NAYERConfig, steps: int) -> dict[str, int]:
        return {"acquire": calls_for(config, steps) * -(-config.iterations // config.chunk), "transfer": steps}

    @classmethod
    def rehearsal(cls, config: NAYERConfig) -> NAYERConfig:
        soon = {"warmup_rounds": 0, "calls": 1, "steps_per_round": 2}
        return config.model_copy(update=soon | {"iterations": min(config.chunk, config.iterations)})

    def __init__(self, config: NAYERConfig, context: Context) -> None:
        super().__init__(config, context)
        place, classes = context.runtime.place, context.task.classes
        if config.embeddings is None:
            stream = context.streams("embeddings", shared=True)
            embeddings = orthonormal(classes, max(EMBEDDING, classes), stream)
        else:
            embeddings = read_embeddings(config.embeddings, classes)
        self.noisy = NoisyLayer(embeddings, config.batch, config.latent)
        self.noisy.redraw(context.streams("noise"))
        place(self.noisy)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        self.optimizer = self._new_optimizer()
        norms = context.teacher.inside.batch_norms if config.bn else ()
        self.bn = BatchStatistics(context.teacher.inside.module, norms, momentum=config.bn_momentum)
        self.loop = InnerLoop(config.iterations, config.chunk)
        self.pool = Pool(config.pool)
        self.schedule = CallRounds(config)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        learns = [*self.noisy.parameters(), *self.generator.parameters()]
        return torch.optim.Adam(learns, lr=self.config.generator_lr, betas=(0.5, 0.999))

    def next_move(self) -> str:
        return self.schedule.next_move

    def acquire(self) -> Losses:
        config, context, loop = self.config, self.context, self.loop
        if loop.iteration == 0:
            self._begin_call()
        losses = Losses()
        with fixed(context.student):
            for _ in range(loop.in_this_move):
                images = images_from(self.generator.train(), self.noisy.train()(loop.targets), context)
                losses, _ = inversion_losses(
                    images, loop.targets, context, self.bn, ce=config.ce, bn=config.bn,
                    adversarial=config.adversarial if self.schedule.warm else 0.0, view=config.view,
                )  # fmt: skip
                total = losses.total()
                loop.offer(total.item(), images=images)
                total.backward()
                # Not runtime.step: every rank has a generator and noise of its own, there is nothing to average.
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        if loop.finished:
            self._end_call()
        return losses

    def _begin_call(self) -> None:
        config, context = self.config, self.context
        age = self.schedule["round"] - config.warmup_rounds
        if self.schedule["calls"] == 0 and age % config.generator_life == 0:
            with context.streams.as_global("generator"):
                draw_default(self.generator)
                draw_default(self.noisy)
        if config.redraw:
            self.noisy.redraw(context.streams("noise"))
        self.optimizer = self._new_optimizer()
        labels = class_blocks(config.batch, context.task.classes, context.streams("labels"))
        self.loop.begin(labels.to(context.runtime.device))

    def _end_call(self) -> None:
        """Deviation: the released code compares the losses of a round's second call with the lowest of its first, so
        that it may keep the first, untrained images of the second; here each call keeps its own best."""
        self.bn.remember()
        keep(self.pool, self.loop.best["images"], self.loop.targets, self.context, self.config.view)
        self.loop.begin(self.loop.targets)
        self.schedule.end_call()

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        return draw(self.pool, self.context, self.config.transfer.batch, self.config.view)

    def state(self) -> Mapping[str, Stateful]:
        return {
            "noisy": self.noisy, "generator": self.generator, "optimizer": self.optimizer, "bn": self.bn,
            "loop": self.loop, "pool": self.pool, "schedule": self.schedule,
        }  # fmt: skip
