"""The settings of fine-tuning on few cases."""

from __future__ import annotations

from typing import Literal

import pydantic

from ..config import Strict


class FineTuneSettings(Strict):
    """Every default is the methods card's, but for the rate of the head.

    head_lr, block_lr: of Adam, for the last layer and then for what is freed with it. Deviation: the card has 1e-4 to
    1e-5, which suits networks of millions of weights; the heads of small students hardly move then. free: what learns,
    the last layer alone ('head'), then the last block with it, or then all weights. last_layer: 'fresh' begins it anew,
    for classes of another meaning (AF-STip's migration). epochs: of each stage at most. patience: epochs without a
    lower loss on the stopping fold after which a stage ends. anchor: weight of the squared distance to the weights at
    the start (L2-SP, Li et al. 2018). synthetic: weight of the distillation on synthetic inputs; temperature: of its
    KL. batch: cases per step.
    """

    head_lr: float = pydantic.Field(default=1e-3, gt=0, le=1)
    block_lr: float = pydantic.Field(default=1e-4, gt=0, le=1)
    free: Literal["head", "block", "all"] = "block"
    last_layer: Literal["kept", "fresh"] = "kept"
    epochs: int = pydantic.Field(default=30, ge=1, le=10_000)
    patience: int = pydantic.Field(default=5, ge=1)
    anchor: float = pydantic.Field(default=0.01, ge=0)
    synthetic: float = pydantic.Field(default=0.5, ge=0)
    temperature: float = pydantic.Field(default=4.0, gt=0)
    batch: int = pydantic.Field(default=32, ge=2, le=65_536)

    @pydantic.model_validator(mode="after")
    def _nothing_old_kept(self) -> FineTuneSettings:
        if self.last_layer == "fresh" and self.synthetic:
            raise ValueError(
                "last_layer=fresh is for classes of another meaning, of which the teacher's answers to synthetic "
                "inputs say nothing: give synthetic=0 as well"
            )
        return self
