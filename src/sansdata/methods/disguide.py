"""DisGUIDE: disagreement-guided data-free model extraction (Rosenthal, Enouen, Pham & Tan, AAAI 2023).

Two students as in DS, whose disagreement is the deviation of their probabilities; a term keeps the classes even; and
what the teacher has answered is taught again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..contracts import Losses
from ..objectives.class_priors import evenness
from ..training.transfer import TransferSettings
from .dual_students import DualStudents, DualStudentsConfig


class DisGUIDEConfig(DualStudentsConfig):
    """Defaults are the released CIFAR-10 values: lin-tan/disguide at c3e2a7d, run_cifar-10.sh. even: weight of the
    classes' evenness."""

    even: float = pydantic.Field(default=0.2, ge=0)  # released; 0.04 for CIFAR-100
    student_steps: int = pydantic.Field(default=1, ge=1)  # released
    replay_steps: int = pydantic.Field(default=3, ge=0)  # released
    steps: int = pydantic.Field(default=312_500, ge=1)  # released: 20 million queries, one batch in 4 steps
    transfer: TransferSettings = TransferSettings(
        lr=0.03, weight_decay=5e-4, schedule="step", milestones=(0.4, 0.8), factor=0.3, batch=256, match="l1"
    )  # released


class DisGUIDE(DualStudents):
    """A step of the generator against both students, steps of both on new answers, steps on old ones."""

    Config: ClassVar[type] = DisGUIDEConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): on few queries five new batches a step of the generator.
        "small": {
            "latent": 100,
            "student_steps": 5,
            "generator_lr": 1e-3,
            "replay": 200_000,
            "steps": 3000,
            "transfer": {"lr": 0.02, "weight_decay": 1e-4, "schedule": "cosine", "batch": 128},
        },
    }
    config: DisGUIDEConfig

    def add_terms(self, losses: Losses, first: Tensor, second: Tensor) -> None:
        shares = torch.stack([first.softmax(1), second.softmax(1)])
        losses.add("deviation", -1.0, lambda: shares.std(0).mean(1))
        losses.add("even", self.config.even, lambda: evenness(torch.cat([first, second])))
