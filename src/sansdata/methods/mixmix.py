"""Inversion after MixMix (Li et al., ICCV 2021, arXiv 2011.09899): pixels that several teachers recognise, each in two
contexts. The images serve distillation, calibration of quantised networks and recovery of pruned ones.

Read of the paper: abstract and method figure. The losses' form is DeepInversion's, the weights and boxes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..arithmetic import cosine
from ..contracts import Batch, Losses, Outputs, Requirements
from ..method import Context
from ..objectives import image_priors
from ..objectives.batch_stats import BatchStatistics
from ..objectives.logits import mixed_cross_entropy
from ..synthesis.augment import augment, jitter, random_flip
from ..synthesis.data_mixing import Mixed, mix_pairs
from ..training.transfer import set_lr
from .deepinversion import DeepInversion, DeepInversionConfig


class MixMixConfig(DeepInversionConfig):
    """DeepInversion's settings, how images are mixed, and how many models are asked."""

    box: tuple[float, float] = (0.1, 0.5)  # share of the area a pasted image covers, [0, 0] for none: ours
    models: int = pydantic.Field(default=0, ge=0)  # members asked each iteration, 0 for all: ours
    mix_transfer: bool = True  # the student's batches are mixed too, as in the paper's distillation (from memory)

    @pydantic.model_validator(mode="after")
    def _box_is_a_range(self) -> MixMixConfig:
        low, high = self.box
        if not 0 <= low <= high < 1:
            raise ValueError(f"box={list(self.box)}: expected the lowest and highest share of an image's area, 0 to 1")
        return self


class MixMix(DeepInversion):
    """DeepInversion's moves; feature mixing over the teacher and its helpers, data mixing of two trainable images."""

    Config: ClassVar[type] = MixMixConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Of mixed images, BatchNorm never agrees: at DeepInversion's weight it drowned the labels, and neither network
        # knew an image's class.
        "small": {**DeepInversion.presets["small"], "iterations": 120, "bn": 0.5, "box": (0.1, 0.3), "models": 1},
    }
    config: MixMixConfig

    @classmethod
    def requires(cls, config: MixMixConfig) -> Requirements:
        alone = super().requires(config)
        return Requirements(access=alone.access, batch_norm=alone.batch_norm, helpers=True)

    def __init__(self, config: MixMixConfig, context: Context) -> None:
        super().__init__(config, context)
        self.statistics = [self.bn]
        for one in context.teacher.helpers:
            norms = one.inside.batch_norms if config.bn else ()
            self.statistics.append(BatchStatistics(one.module, norms, first=config.first_bn))

    def iterate(self) -> Losses:
        done = self.inversion.iteration / self.config.iterations
        set_lr(self.inversion.optimizer, self.config.pixel_lr * cosine(done))
        return super().iterate()

    def finished(self) -> Tensor:
        # The lowest loss says more of a lucky draw of boxes and models than of the pixels: the last are kept.
        return self.inversion.pixels.detach()

    def _losses(self) -> Losses:
        config, context = self.config, self.context
        seen = jitter(self.inversion.pixels, config.jitter, context.streams("jitter"))
        if config.flip:
            seen = random_flip(seen, context.streams("jitter"))
        mixed = mix_pairs(seen, config.box, context.streams("boxes"))
        images = context.pixels.undo(mixed.images)
        members = context.teacher.members
        answers = {number: members[number](images, self.statistics[number].taps) for number in self._asked()}
        losses = context.acquire_losses(images, next(iter(answers.values())))
        losses.add("tv", config.tv, lambda: image_priors.total_variation(seen))
        losses.add("l2", config.l2, lambda: image_priors.l2(self.inversion.pixels))
        for number, outputs in answers.items():
            self._add_member(losses, number, outputs, mixed, 1 / len(answers))
        return losses

    def _asked(self) -> list[int]:
        """The members of this iteration, in their own order."""
        members, few = len(self.context.teacher.members), self.config.models
        if not 0 < few < members:
            return list(range(members))
        return torch.randperm(members, generator=self.context.streams("members"))[:few].sort().values.tolist()

    def _add_member(self, losses: Losses, number: int, outputs: Outputs, mixed: Mixed, weight: float) -> None:
        """What one member says of the mixed images."""
        statistics, targets = self.statistics[number], self.inversion.targets
        of = f" of helper {number}" if number else ""
        losses.add(
            f"ce{of}",
            weight,
            lambda: mixed_cross_entropy(outputs.logits, targets, targets[mixed.partner], mixed.share),
        )
        losses.add(f"bn{of}", weight * self.config.bn, lambda: statistics(outputs.taps))

    def transfer_batch(self) -> Batch:
        if not self.config.mix_transfer or self.config.box[1] == 0:
            return super().transfer_batch()
        self.schedule["transfers_left"] -= 1
        config, context = self.config, self.context
        drawn = self.pool.sample(config.transfer.batch, context.streams("pool"))
        images = augment(context.runtime.place(drawn.images), config.view, context.streams("view"))
        mixed = mix_pairs(images, config.box, context.streams("student-boxes"))
        return context.teach(mixed.images, targets=drawn.targets)
