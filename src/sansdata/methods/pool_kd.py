"""Distillation on a pool of unrelated images as it is: the floor of every method that chooses from one.

Hinton et al. 2015, on images that the user gives. The student's settings are those of DFND's released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic

from ..config import Strict
from ..contracts import PER_PIXEL_TOO, Access, Batch, Requirements, Stateful
from ..method import Context, Method
from ..synthesis.augment import Augment
from ..synthesis.given import draw, random_share
from ..training.transfer import TransferSettings


class PoolKDConfig(Strict):
    share: float = pydantic.Field(default=1.0, gt=0, le=1)  # of the pool, drawn at random once; ours
    view: Augment = "crop+flip"  # released (DFND)
    steps: int = pydantic.Field(default=20_000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", batch=256, temperature=4.0
    )  # released (DFND)


class PoolKD(Method):
    """The teacher's answers on random images of the pool."""

    Config: ClassVar[type] = PoolKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {"steps": 1400, "transfer": {"batch": 128, "schedule": "cosine", "weight_decay": 1e-4}},
    }

    @classmethod
    def requires(cls, config: PoolKDConfig) -> Requirements:
        return Requirements(access=Access.SCORES, pool=True, outputs=PER_PIXEL_TOO)

    @classmethod
    def plan(cls, config: PoolKDConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def __init__(self, config: PoolKDConfig, context: Context) -> None:
        super().__init__(config, context)
        self.ids = random_share(context, config.share)

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        return draw(self.ids, self.context, self.config.transfer.batch, self.config.view)

    def state(self) -> Mapping[str, Stateful]:
        return {}
