"""Inversion after MixMix (Li et al., ICCV 2021, arXiv 2011.09899): pixels that several teachers recognise, each in two
contexts. The images serve distillation, calibration of quantised networks and recovery of pruned ones.

Read of the paper: abstract and method figure. The losses' form is DeepInversion's, the weights and boxes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..arithmetic import cosine
from ..contracts import Batch, Losses, Outputs, Requirements
from ..method import Context
from ..objectives import image_priors
from ..objectives.logits import mixed_cross_entropy
from ..synthesis.augment import augment, jitter, random_flip
from ..synthesis.resized_crop import between
from ..training.transfer import set_lr
from .deepinversion import DeepInversion, DeepInversionConfig


class MixMixConfig(DeepInversionConfig):
    """DeepInversion's settings, how images are mixed, and how many models are asked."""

    bn: float = pydantic.Field(default=0.1, ge=0)  # ours, chosen at 32x32: at 1 mixed images lose their labels
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
        helpers = context.teacher.helpers
        self.statistics = [self.bn, *(one.statistics(config.bn > 0, first=config.first_bn) for one in helpers)]

    def iterate(self) -> Losses:
        done = self.inversion.iteration / self.config.iterations
        set_lr(self.inversion.optimizer, self.config.pixel_lr * cosine(done))
        return super().iterate()

    def finished_pixels(self) -> Tensor:
        # The lowest loss says more of a lucky draw of boxes and models than of the pixels: the last are kept.
        return self.inversion.pixels.detach()

    def _losses(self) -> Losses:
        config, context = self.config, self.context
        shifted = jitter(self.inversion.pixels, config.jitter, context.streams("jitter"))
        if config.flip:
            shifted = random_flip(shifted, context.streams("jitter"))
        mixed = mix_pairs(shifted, config.box, context.streams("boxes"))
        images = context.pixels.undo(mixed.images)
        members = context.teacher.members
        answers = {number: members[number](images, self.statistics[number].taps) for number in self._members()}
        losses = context.acquire_losses(images, next(iter(answers.values())))
        losses.add("tv", config.tv, lambda: image_priors.total_variation(shifted))
        losses.add("l2", config.l2, lambda: image_priors.l2(self.inversion.pixels))
        for number, outputs in answers.items():
            self._add_member(losses, number, outputs, mixed, 1 / len(answers))
        return losses

    def _members(self) -> list[int]:
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
        self.schedule.end_step()
        config, context = self.config, self.context
        pooled = self.pool.sample(config.transfer.batch, context.streams("pool"))
        images = augment(context.runtime.place(pooled.images), config.view, context.streams("view"))
        mixed = mix_pairs(images, config.box, context.streams("student-boxes"))
        return context.teach(mixed.images, targets=pooled.targets)


# -- two images in one


@dataclass(frozen=True)
class Mixed:
    """images (B, C, H, W); partner (B,) int64, the image that was pasted into each; share (B,) of its area, 0..1."""

    images: Tensor
    partner: Tensor
    share: Tensor


def mix_pairs(images: Tensor, area: tuple[float, float], generator: torch.Generator) -> Mixed:
    """Pastes into each of images (B, C, H, W) another one, the partners being a permutation of the batch.

    Unlike in CutMix (Yun et al. 2019) the pasted image is shrunk whole, not cropped. Gradients flow to both images.

    area: the lowest and highest share of an image that the box covers, 0..1, drawn evenly for each image; the box has
    the image's proportions, in whole pixels, and any place inside it. A box of less than a pixel is no box.
    Like in `random_resized_crop`, resizing (bilinear, between pixel centres) is two batched products.
    """
    count, _, height, width = images.shape
    partner = torch.randperm(count, generator=generator).to(images.device)
    side = between(area, count, generator).sqrt()
    places = torch.rand(2, count, generator=generator)
    rows, columns = _into_box(side, places[0], height), _into_box(side, places[1], width)
    inside = rows.sum(2)[:, None, :, None] * columns.sum(2)[:, None, None, :]  # each row of weights sums to 0 or 1
    share = inside.mean((1, 2, 3)).to(images)
    pasted = rows.to(images)[:, None] @ images[partner] @ columns.to(images)[:, None].mT
    return Mixed((1 - inside.round().to(images)) * images + pasted, partner, share)


def _into_box(side: Tensor, place: Tensor, size: int) -> Tensor:
    """(B, size, size): row i holds the weights by which position i of a box is mixed from the whole axis; zeros
    outside the box. side (B,): length over the axis; place (B,): 0..1 from its first to its last position."""
    length = (side * size).round()
    first = (place * (size - length + 1)).floor().clamp(max=size - length)
    position = torch.arange(size, dtype=torch.float64) - first[:, None]
    within = (position >= 0) & (position < length[:, None])
    source = (position + 0.5) * size / length.clamp_min(1)[:, None] - 0.5
    distance = source.clamp(0, size - 1)[:, :, None] - torch.arange(size)
    return (1 - distance.abs()).clamp_min(0) * within[:, :, None]
