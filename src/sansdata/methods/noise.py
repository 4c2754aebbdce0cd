"""Noise: the floor of every comparison. The student learns the teacher's answers on random images.

gaussian: the KD-on-normal-noise row of DAFL's tables 1 and 3. fractal, dead-leaves: structured noise, after
Baradad et al. 2021, "Learning to see by looking at noise".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Method, Requirements, Stateful
from ..synthesis import noise
from ..training.transfer import TransferSettings


class NoiseConfig(Strict):
    source: Literal["gaussian", "fractal", "dead-leaves"] = "gaussian"
    steps: int = pydantic.Field(default=2000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings()  # lr 0.1, tau 20: ours


class Noise(Method):
    """Every batch is drawn afresh; nothing is kept."""

    Config: ClassVar[type] = NoiseConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @classmethod
    def requires(cls, config: NoiseConfig) -> Requirements:
        return Requirements(access=Access.SCORES)

    @classmethod
    def plan(cls, config: NoiseConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        images = self.draw()
        self.context.counters.add("samples", len(images))
        return self.context.teach(images)

    def draw(self) -> Tensor:
        count, shape = self.config.transfer.batch, self.context.task.shape
        stream, runtime = self.context.streams("noise"), self.context.runtime
        if self.config.source == "fractal":
            return runtime.place(noise.fractal(count, shape, stream))
        if self.config.source == "dead-leaves":
            return runtime.place(noise.dead_leaves(count, shape, stream))
        return runtime.denormalise(self.context.task, runtime.place(noise.gaussian(count, shape, stream)))

    def state(self) -> Mapping[str, Stateful]:
        return {}
