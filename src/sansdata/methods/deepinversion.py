"""DeepInversion: pixels optimised until a batch looks to the teacher's BatchNorm like its data
(Yin et al., CVPR 2020, arXiv 1912.08795). Plain distillation on the images follows; it was never released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import PER_PIXEL_TOO, Access, Losses, Outputs, Requirements, Stateful
from ..memory import Pool
from ..method import Context
from ..objectives import image_priors
from ..objectives.logits import cross_entropy
from ..synthesis.augment import Augment, jitter, random_flip
from ..synthesis.layouts import random_targets, together
from ..synthesis.pixels import Inversion, PixelRounds
from ..synthesis.rounds import Schedule
from ..training.transfer import TransferSettings


class DeepInversionConfig(Strict):
    """Defaults are the released CIFAR-10 values. Pixels live in the space the teacher takes (normalised).

    "Released" is NVlabs/DeepInversion, commit 2413af1; "author" an answer in its issues.
    """

    batch: int = pydantic.Field(default=256, ge=2)  # released
    iterations: int = pydantic.Field(default=2000, ge=1)  # released
    chunk: int = pydantic.Field(default=25, ge=1)  # iterations a move: ours
    pixel_lr: float = pydantic.Field(default=0.1, gt=0)  # released, Adam's default betas
    bn: float = pydantic.Field(default=10.0, ge=0)  # the authors' answers; the CIFAR script has 100
    first_bn: float = pydantic.Field(default=1.0, ge=0)  # released for CIFAR; 10 for ImageNet
    tv: float = pydantic.Field(default=2.5e-5, ge=0)  # released
    l2: float = pydantic.Field(default=0.0, ge=0)  # released
    jitter: int = pydantic.Field(default=2, ge=0)  # released
    flip: bool = False  # released for CIFAR
    # Deviation: released for ImageNet, not for CIFAR. The pool keeps 8-bit images, so pixels outside 0..1 would be cut
    # after the optimiser had come to rely on them.
    clip: bool = True
    pool: int = pydantic.Field(default=256_000, ge=1)  # 1000 batches of 256 (author)
    steps_per_batch: int = pydantic.Field(default=80, ge=1)  # student steps for each batch inverted: ours
    view: Augment = "crop+flip"  # ours
    steps: int = pydantic.Field(default=80_000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(lr=0.1, temperature=3.0)  # tau 3: author


class DeepInversion(PixelRounds):
    """Inverts a batch over several moves, keeps it, teaches for a while from all that was kept, and begins again."""

    Config: ClassVar[type] = DeepInversionConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): few, fast iterations and some smoothing; the best of a few settings tried.
        "small": {
            "batch": 128, "iterations": 60, "chunk": 20, "pixel_lr": 0.2, "tv": 3e-3, "steps_per_batch": 60,
            "steps": 1100, "transfer": {"batch": 128, "temperature": 20.0},
        },
    }  # fmt: skip
    config: DeepInversionConfig

    @classmethod
    def requires(cls, config: DeepInversionConfig) -> Requirements:
        return Requirements(
            access=Access.WEIGHTS if config.bn else Access.GRADIENTS, batch_norm=config.bn > 0, outputs=PER_PIXEL_TOO
        )

    def __init__(self, config: DeepInversionConfig, context: Context) -> None:
        super().__init__(config, context)
        self.bn = context.teacher.statistics(config.bn > 0, first=config.first_bn)
        self.pool = Pool(config.pool)
        blank = torch.zeros(config.batch, *context.task.shape)
        nothing = torch.zeros(config.batch, dtype=torch.int64)
        self.inversion = Inversion(
            context.runtime.place(blank), nothing, config.pixel_lr, config.iterations, config.chunk
        )
        black, white = torch.zeros(1, *context.task.shape), torch.ones(1, *context.task.shape)
        self.bounds = [context.pixels(context.runtime.place(b)) for b in (black, white)]
        self.schedule = Schedule(self.round_of(config))

    def begin_batch(self) -> None:
        """Pixels drawn from the standard normal, and random classes or layouts of them."""
        config, context, stream = self.config, self.context, self.context.streams("pixels")
        pixels = torch.randn(config.batch, *context.task.shape, generator=stream)
        targets = random_targets(config.batch, context.task, stream)
        self.inversion.begin(context.runtime.place(pixels), targets.to(context.runtime.device))

    def iterate(self) -> Losses:
        """One step of the pixels."""
        losses = self._losses()
        total = losses.total()
        self.inversion.offer(total.item())
        self.inversion.step(total)
        if self.config.clip:
            self.inversion.clip(*self.bounds)
        return losses

    def finished_batch(self) -> tuple[Tensor, Tensor]:
        return self.context.pixels.undo(self.finished_pixels()), self.inversion.targets

    def finished_pixels(self) -> Tensor:
        """The pixels (B, C, H, W) to keep of a batch at its end, in the space the teacher takes."""
        return self.inversion.best

    def _losses(self) -> Losses:
        config, context, pixels = self.config, self.context, self.inversion.pixels
        stream = context.streams("jitter")
        shifted, targets = together(lambda seen: jitter(seen, config.jitter, stream), pixels, self.inversion.targets)
        if config.flip:
            shifted, targets = together(lambda seen: random_flip(seen, stream), shifted, targets)
        images = context.pixels.undo(shifted)
        outputs = context.teacher(images, self.bn.taps)
        losses = context.acquire_losses(images, outputs)
        losses.add("tv", config.tv, lambda: image_priors.total_variation(shifted))
        losses.add("l2", config.l2, lambda: image_priors.l2(pixels))
        self.add_terms(losses, images, outputs, targets)
        return losses

    def add_terms(self, losses: Losses, images: Tensor, outputs: Outputs, targets: Tensor) -> None:
        """What the networks say of `images` (B, C, H, W) in unit space, which gave the teacher's `outputs` and are to
        show `targets`."""
        losses.add("ce", 1, lambda: cross_entropy(outputs.logits, targets))
        losses.add("bn", self.config.bn, lambda: self.bn(outputs.taps))

    def state(self) -> Mapping[str, Stateful]:
        return {"inversion": self.inversion, "pool": self.pool, "schedule": self.schedule}
