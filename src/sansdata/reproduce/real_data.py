"""Knowledge distillation on the real training set: the ceiling of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .. import columns
from ..columns import Inputs
from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ..kinds.index import input_kind
from ..memory import Pool
from ..method import Method
from ..objectives.logits import cross_entropy
from ..synthesis.augment import Augment
from ..synthesis.pooled import draw
from ..training.transfer import TransferSettings


class RealDataConfig(Strict):
    steps: int = 1
    view: Augment = "crop+flip"
    transfer: TransferSettings = TransferSettings()


class RealData(Method):
    """Batches of real inputs; made for one set by `on`."""

    Config: ClassVar[type] = RealDataConfig
    packed: ClassVar[Inputs]
    labels: ClassVar[Tensor]

    @classmethod
    def on(cls, packed: Inputs, labels: Tensor) -> type[Method]:
        """The method for these inputs, as their kind stores them, and labels (N,)."""
        return type("RealData", (cls,), {"packed": packed, "labels": labels})

    @classmethod
    def requires(cls, config: RealDataConfig) -> Requirements:
        return Requirements(Access.LABELS, inputs=frozenset(), outputs=frozenset())

    @classmethod
    def plan(cls, config: RealDataConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        pool = Pool(len(self.labels), input_kind(self.context.task))
        pool.inputs, pool.targets, pool.added = self.packed, self.labels, len(self.labels)
        return draw(pool, self.context, self.config.transfer.batch, self.config.view)

    def state(self) -> Mapping[str, Stateful]:
        return {}


class RealLabels(RealData):
    """The same inputs with their own labels: no teacher is asked."""

    def transfer_batch(self) -> Batch:
        ids = torch.randint(len(self.labels), (self.config.transfer.batch,), generator=self.context.streams("pool"))
        place = self.context.runtime.place
        return Batch(place(columns.take(self.packed, ids)), targets=place(self.labels[ids]))

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, targets = Losses(), batch.targets
        logits = student(batch.inputs).logits
        assert targets is not None
        losses.add("ce", 1, lambda: cross_entropy(logits, targets))
        return losses
