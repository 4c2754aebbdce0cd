"""DFND: learning student networks in the wild (Chen et al., CVPR 2021), after its released script.

Keep the images of a pool that the teacher is surest of; learn its answers there, and its decisions through a matrix
that says how often they are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ..memory import Slot
from ..method import Context, Method
from ..models.with_part import WithPart
from ..objectives.logits import noisy_label_loss
from ..synthesis.augment import Augment
from ..synthesis.given import draw, random_share
from ..synthesis.pool_scan import PoolScan, best_of, short_scan
from ..training.transfer import TransferSettings

NOISE = "noise-adaptation"
"""The tap that gives the log-probabilities of noisy labels."""


class DFNDConfig(Strict):
    """Defaults are the released values for CIFAR-10."""

    share: float = pydantic.Field(default=1.0, gt=0, le=1)  # of the pool, drawn at random once; ours
    keep: float = pydantic.Field(default=0.469, gt=0, le=1)  # released: 600,000 of 1,281,167
    accuracy: float = pydantic.Field(default=0.9523, gt=0, lt=1)  # released: the teacher's, on the test set
    noisy: float = pydantic.Field(default=1.0, ge=0)  # weight of the loss on noisy labels; released
    scan_moves: int = pydantic.Field(default=50, ge=2)  # ours
    view: Augment = "crop+flip"  # released
    steps: int = pydantic.Field(default=20_000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", batch=256, temperature=4.0
    )  # released


class DFND(Method):
    """The pool is scored once; then student steps on what was kept."""

    Config: ClassVar[type] = DFNDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {
            "keep": 0.2, "scan_moves": 20, "steps": 1400,
            "transfer": {"batch": 128, "schedule": "cosine", "weight_decay": 1e-4},
        },
    }  # fmt: skip

    @classmethod
    def requires(cls, config: DFNDConfig) -> Requirements:
        return Requirements(access=Access.SCORES, pool=True)

    @classmethod
    def plan(cls, config: DFNDConfig, steps: int) -> dict[str, int]:
        return {"score": config.scan_moves, "transfer": steps}

    @classmethod
    def rehearsal(cls, config: DFNDConfig) -> DFNDConfig:
        return config.model_copy(update=short_scan(config.scan_moves, config.share))

    def __init__(self, config: DFNDConfig, context: Context) -> None:
        super().__init__(config, context)
        self.scan = PoolScan(context, random_share(context, config.share), config.scan_moves)
        self.selection = Slot(ids=None)
        if config.noisy:
            context.student_taps = (*context.student_taps, NOISE)

    def build_student(self, student: nn.Module) -> nn.Module:
        """Deviation: the matrix takes the student's own steps, where the released code has Adam at 1e-3 for it."""
        if not self.config.noisy:
            return student
        matrix = NoiseAdaptation(self.context.task.classes, self.config.accuracy)
        return self.context.runtime.place(WithPart(student, NOISE, matrix))

    def next_move(self) -> str:
        return "score" if self.selection["ids"] is None else "transfer"

    def score(self) -> Losses:
        """The next chunk of the pool before the teacher; after the last, the surest are kept."""
        losses = Losses()
        if self.scan.step(self.context.teacher):
            doubt = -F.log_softmax(self.scan.logits, dim=1).amax(1)  # CE with its own decision
            count = max(1, round(self.config.keep * len(doubt)))
            nobody = torch.zeros(len(doubt), dtype=torch.bool)
            self.selection["ids"] = best_of(self.scan.ids, -doubt, nobody, count)
            losses.add("doubt", 1, lambda: doubt)
        return losses

    def transfer_batch(self) -> Batch:
        batch = draw(self.selection["ids"], self.context, self.config.transfer.batch, self.config.view)
        batch.targets = batch.answers().logits.argmax(1)
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses = Losses()
        outputs, teacher = student(batch.images), batch.answers()
        losses.add("match", 1, lambda: self.config.transfer.matching(outputs, teacher))
        losses.add(
            "noisy_labels", self.config.noisy,
            lambda: noisy_label_loss(outputs.taps[NOISE], teacher.logits.argmax(1)),
        )  # fmt: skip
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"scan": self.scan, "kept": self.selection}


class NoiseAdaptation(nn.Module):
    """What a wrong label may have been: a matrix Q of transitions between classes, learned with the student.

    Logits (B, K) of the true class -> (B, K) log-probabilities of the noisy label, log(softmax(logits) Q). Q[i, i] is
    `accuracy`; the rest of row i, 1 - accuracy in sum, is learned, evenly spread at first.
    """

    def __init__(self, classes: int, accuracy: float) -> None:
        super().__init__()
        self.accuracy = accuracy
        self.off_diagonal = nn.Parameter(torch.zeros(classes, classes))
        self.register_buffer("own", torch.eye(classes, dtype=torch.bool), persistent=False)

    def transitions(self) -> Tensor:
        """Q (K, K): rows sum to 1."""
        own: Tensor = self.own  # type: ignore[assignment]
        spread = F.softmax(self.off_diagonal.masked_fill(own, -torch.inf), dim=1)
        return (1 - self.accuracy) * spread + self.accuracy * own

    def forward(self, logits: Tensor) -> Tensor:
        noisy = F.softmax(logits.to(self.off_diagonal), dim=1) @ self.transitions()
        return noisy.clamp_min(torch.finfo(noisy.dtype).tiny).log()
