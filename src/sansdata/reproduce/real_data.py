"""Knowledge distillation on the real training images: the ceiling of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ..config import Strict
from ..contracts import Batch, Requirements, Stateful
from ..memory import Pool
from ..method import Method
from ..synthesis.augment import Augment
from ..synthesis.pooled import draw
from ..training.transfer import TransferSettings


class RealDataConfig(Strict):
    steps: int = 1
    view: Augment = "crop+flip"
    transfer: TransferSettings = TransferSettings()


class RealData(Method):
    """Batches of real images; made for one set by `on`."""

    Config: ClassVar[type] = RealDataConfig
    images: ClassVar[Tensor]
    labels: ClassVar[Tensor]

    @classmethod
    def on(cls, images: Tensor, labels: Tensor) -> type[Method]:
        """The method for these images uint8 (N, C, H, W) and labels (N,)."""
        return type("RealData", (cls,), {"images": images, "labels": labels})

    @classmethod
    def requires(cls, config: RealDataConfig) -> Requirements:
        return Requirements()

    @classmethod
    def plan(cls, config: RealDataConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        pool = Pool(len(self.images))
        pool.inputs, pool.targets, pool.added = self.images, self.labels, len(self.images)
        return draw(pool, self.context, self.config.transfer.batch, self.config.view)

    def state(self) -> Mapping[str, Stateful]:
        return {}
