"""CMI: contrastive model inversion for data-free knowledge distillation (Fang et al., IJCAI 2021, arXiv 2105.08584).

Each round trains a generator that is then thrown away, and its latents, until a batch looks right to the teacher. A
contrastive term asks that every image be told apart, by the teacher's features, from all that were made before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Access, Losses, Requirements, Stateful
from ..memory import FeatureBank, Pool
from ..method import Context
from ..models.initial_weights import draw_normal
from ..models.modes import fixed
from ..models.taps import forward
from ..objectives.batch_stats import BatchStatistics
from ..objectives.contrastive import spatial_means, view_contrast
from ..synthesis.augment import Augment, random_flip
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.inner_loop import InnerLoop
from ..synthesis.inversion_losses import inversion_losses
from ..synthesis.labels import random_labels
from ..synthesis.resized_crop import random_resized_crop
from ..synthesis.rounds import PooledRounds, Round, Schedule
from ..training.transfer import TransferSettings

LOCAL_SCALE = (0.25, 1.0)
"""Share of the image's area that a local view shows (released)."""


class CMIConfig(Strict):
    """Defaults are the released CIFAR-10 values for a student trained from scratch (zju-vipa/CMI)."""

    iterations: int = pydantic.Field(default=200, ge=1)  # a round; released, the paper has 500
    chunk: int = pydantic.Field(default=10, ge=1)  # iterations a move: ours
    latent: int = pydantic.Field(default=256, ge=1)  # released
    width: Width = "auto"  # released: 64
    generator_lr: float = pydantic.Field(default=1e-3, gt=0)  # generator, latents and head; released
    batch: int = pydantic.Field(default=256, ge=2)  # images a round; released
    bn: float = pydantic.Field(default=1.0, ge=0)  # released
    ce: float = pydantic.Field(default=1.0, ge=0)  # released; 0.5 where it starts from a pool
    adversarial: float = pydantic.Field(default=0.5, ge=0)  # released
    contrastive: float = pydantic.Field(default=0.8, ge=0)  # released
    contrastive_temperature: float = pydantic.Field(default=0.1, gt=0)  # released
    feature_layers: tuple[str, ...] = ()  # released: what enters every BatchNorm; a ResNet-34's stages
    head: int = pydantic.Field(default=256, ge=1)  # released
    bank: int = pydantic.Field(default=40_960, ge=1)  # released
    negatives: int = pydantic.Field(default=4096, ge=0)  # released
    steps_per_round: int = pydantic.Field(default=400, ge=1)  # released
    pool: int = pydantic.Field(default=51_200, ge=1)  # released: 200 rounds of 256 images
    view: Augment = "crop+flip"  # released
    steps: int = pydantic.Field(default=80_000, ge=1)  # released: 200 rounds of 400
    transfer: TransferSettings = TransferSettings(lr=0.1, temperature=20.0, batch=128)  # released


class CMI(PooledRounds):
    """A round of inversion over several moves, then student steps on everything kept so far."""

    Config: ClassVar[type] = CMIConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): few and fast steps for each generator, a small batch, few images to tell apart.
        "small": {
            "iterations": 15, "chunk": 15, "generator_lr": 0.02, "batch": 128, "negatives": 512, "steps_per_round": 60,
            "steps": 1000, "transfer": {"batch": 128},
        },
    }  # fmt: skip
    config: CMIConfig

    @classmethod
    def requires(cls, config: CMIConfig) -> Requirements:
        reads_norms = config.bn > 0 or (config.contrastive > 0 and not config.feature_layers)
        reads_inside = reads_norms or config.contrastive > 0
        return Requirements(access=Access.WEIGHTS if reads_inside else Access.GRADIENTS, batch_norm=reads_norms)

    @classmethod
    def round_of(cls, config: CMIConfig) -> Round:
        return Round(config.steps_per_round, moves=ceil_div(config.iterations, config.chunk))

    @classmethod
    def rehearsal(cls, config: CMIConfig) -> CMIConfig:
        return config.model_copy(update={"iterations": min(config.chunk, config.iterations), "steps_per_round": 2})

    def __init__(self, config: CMIConfig, context: Context) -> None:
        super().__init__(config, context)
        place, norms = context.runtime.place, context.teacher.inside.batch_norms
        self.bn = BatchStatistics(context.teacher.inside.module, norms if config.bn else ())
        self.taps = config.feature_layers or tuple(f"{path}:input" for path in norms)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        self.codes = place(nn.ParameterDict({"z": torch.zeros(config.batch, config.latent)}))
        self.optimizer = self._new_optimizer()
        self.loop = InnerLoop(config.iterations, config.chunk)
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config))
        if config.contrastive:
            size = self._feature_size()
            self.bank = FeatureBank(config.bank, 2 * size)  # of each image its local and its whole view
            with context.streams.as_global("head", shared=True):
                self.head = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, config.head))
            self.head_optimizer = torch.optim.Adam(place(self.head).parameters(), lr=config.generator_lr)

    def _feature_size(self) -> int:
        """Asked of the teacher itself. Raises TeacherError for a `feature_layers` that it does not run."""
        blank = self.context.runtime.place(torch.zeros(2, *self.context.task.shape))
        with torch.no_grad():
            taps = forward(self.context.teacher.inside.module, blank, self.taps).taps
        return spatial_means(taps.values()).shape[1]

    def _new_optimizer(self) -> torch.optim.Optimizer:
        learns = [*self.generator.parameters(), self.codes["z"]]
        return torch.optim.Adam(learns, lr=self.config.generator_lr, betas=(0.5, 0.999))

    def acquire(self) -> Losses:
        config, context, loop = self.config, self.context, self.loop
        if loop.iteration == 0:
            self._begin_round()
        losses = Losses()
        with fixed(context.student):
            for _ in range(loop.in_this_move):
                images = images_from(self.generator.train(), self.codes["z"], context)
                losses, features = self._losses(images)
                total = losses.total()
                loop.offer(total.item(), images=images, **features)
                total.backward()
                # Not runtime.step: every rank has a generator of its own, there is nothing to average.
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                if config.contrastive:
                    context.runtime.step(self.head_optimizer)
        if loop.finished:
            self._end_round()
        return losses

    def _begin_round(self) -> None:
        config, context = self.config, self.context
        with torch.no_grad(), context.streams.as_global("reset"):
            draw_normal(self.generator)
            self.codes["z"].copy_(latents(config.batch, config.latent, context))
        # Adam's moments would be those of weights that were drawn anew: each round begins without any.
        self.optimizer = self._new_optimizer()
        labels = random_labels(config.batch, context.task.classes, context.streams("labels"))
        self.loop.begin(labels.to(context.runtime.device))

    def _losses(self, images: Tensor) -> tuple[Losses, dict[str, Tensor]]:
        """The weighted terms, and the features (B, 2F) that the bank keeps of these images, where it is in use."""
        config = self.config
        taps = self.taps if config.contrastive else ()
        losses, outputs = inversion_losses(
            images, self.loop.targets, self.context, self.bn, ce=config.ce, bn=config.bn,
            adversarial=config.adversarial, view=config.view, taps=taps,
        )  # fmt: skip
        if not config.contrastive:
            return losses, {}
        local, whole = self._local_features(images), self._features(outputs.taps).detach()
        losses.add("contrastive", config.contrastive, lambda: self._contrast(local, whole))
        return losses, {"features": torch.cat([local, whole], dim=1)}

    def _features(self, taps: Mapping[str, Tensor]) -> Tensor:
        return spatial_means(taps[tap] for tap in self.taps)

    def _local_features(self, images: Tensor) -> Tensor:
        stream = self.context.streams("local-view")
        parts = random_resized_crop(images, LOCAL_SCALE, stream)
        if self.config.view == "crop+flip":
            parts = random_flip(parts, stream)
        return self._features(self.context.teacher(parts, self.taps).taps)

    def _contrast(self, local: Tensor, whole: Tensor) -> Tensor:
        """Local views (B, F) look for their whole views (B, F), among those of the batch and of the bank."""
        config, context = self.config, self.context
        cached = self.bank.sample(config.negatives, context.streams("negatives")).to(local.device)
        cached_local, cached_whole = cached.chunk(2, dim=1)
        local_rows = self.head(torch.cat([local, cached_local]))
        with torch.no_grad():  # released: what is looked for does not move
            whole_rows = self.head(torch.cat([whole, cached_whole]))
        return view_contrast(local_rows, whole_rows, config.contrastive_temperature, current=len(local))

    def _end_round(self) -> None:
        config, best = self.config, self.loop.best
        self.keep(best["images"], self.loop.targets)
        if config.contrastive:
            self.bank.add(best["features"])
        self.loop.begin(self.loop.targets)  # the images are in the pool: no checkpoint need hold them twice
        self.schedule.begin_steps()

    def state(self) -> Mapping[str, Stateful]:
        parts: dict[str, Stateful] = {
            "generator": self.generator, "codes": self.codes, "optimizer": self.optimizer, "loop": self.loop,
            "pool": self.pool, "schedule": self.schedule,
        }  # fmt: skip
        if self.config.contrastive:
            parts |= {"bank": self.bank, "head": self.head, "head_optimizer": self.head_optimizer}
        return parts
