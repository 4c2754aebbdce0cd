"""Adaptive DeepInversion: images that look right to BatchNorm and that the student does not answer like the teacher
(Yin et al., CVPR 2020, arXiv 1912.08795, section 3.3). New batches are made while the student learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pydantic
from torch import Tensor

from ..contracts import Losses, Outputs, Requirements
from ..models.modes import fixed
from ..objectives.logits import jsd_adversarial
from .deepinversion import DeepInversion, DeepInversionConfig


class ADIConfig(DeepInversionConfig):
    """DeepInversion's settings, and the weight of the competition."""

    adi: float = pydantic.Field(default=0.2, ge=0)  # released for ImageNet; its CIFAR script leaves it out
    steps_per_batch: int = pydantic.Field(default=50, ge=1)  # paper, table 1: a new batch every 50 iterations


class ADI(DeepInversion):
    """DeepInversion whose images also compete with the student as it stands, in eval mode."""

    Config: ClassVar[type] = ADIConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {**DeepInversion.presets["small"], "adi": 1.0},
    }
    config: ADIConfig

    @classmethod
    def requires(cls, config: ADIConfig) -> Requirements:
        return replace(super().requires(config), outputs=frozenset({"classes"}))

    def acquire(self) -> Losses:
        with fixed(self.context.student):
            return super().acquire()

    def add_terms(self, losses: Losses, images: Tensor, outputs: Outputs, targets: Tensor) -> None:
        super().add_terms(losses, images, outputs, targets)
        # A student that has learnt nothing says nothing about which images are missing: the authors begin with
        # DeepInversion's too.
        taught = self.context.progress.steps > 0
        losses.add(
            "adi",
            self.config.adi if taught else 0.0,
            lambda: jsd_adversarial(self.context.student_outputs(images).logits, outputs.logits),
        )
