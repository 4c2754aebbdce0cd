"""Noise: the floor of every comparison. The student learns the teacher's answers on random inputs.

gaussian: the KD-on-normal-noise row of DAFL's tables 1 and 3. fractal, dead-leaves: structured noise, after
Baradad et al. 2021, "Learning to see by looking at noise". Other inputs are drawn as their kind draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from ..config import Strict
from ..contracts import Access, Batch, OfGradient, Questions, Requirements, Stateful
from ..errors import MethodError
from ..kinds.index import input_kind, known_sources
from ..method import Context, Method
from ..training.transfer import TransferSettings

DEFAULT = "gaussian"
"""Where a kind of input has no such noise, this stands for its plainest."""


class NoiseConfig(Strict):
    source: str = DEFAULT
    steps: int = pydantic.Field(default=2000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings()  # lr 0.1, tau 20: ours

    @pydantic.field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        """Third parties' kinds of input have sources of their own; whether the task's kind has this one, a run asks."""
        if source != DEFAULT and source not in (known := known_sources()):
            raise ValueError(f"no kind of input is drawn so; there are {', '.join(sorted(known))}")
        return source


class Noise(Method):
    """Every batch is drawn afresh; nothing is kept."""

    Config: ClassVar[type] = NoiseConfig

    @classmethod
    def requires(cls, config: NoiseConfig) -> Requirements:
        return Requirements(access=Access.LABELS, inputs=frozenset(), outputs=frozenset())

    @classmethod
    def plan(cls, config: NoiseConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    @classmethod
    def questions(cls, config: NoiseConfig, steps: int, gradient: OfGradient) -> Questions:
        return Questions({config.transfer.batch: steps})

    def __init__(self, config: NoiseConfig, context: Context) -> None:
        """Raises MethodError for a source that the task's kind of input does not have."""
        super().__init__(config, context)
        self.kind = input_kind(context.task)
        self.source = config.source
        if config.source not in self.kind.sources:
            if config.source != DEFAULT:
                raise MethodError(
                    f"noise: {self.kind.unit} are not drawn as '{config.source}'; source is one of "
                    f"{', '.join(self.kind.sources)}"
                )
            self.source = self.kind.sources[0]

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        context, count = self.context, self.config.transfer.batch
        door = context.teacher.network.preprocessor
        inputs = context.runtime.place(self.kind.draw(count, context.streams("noise"), self.source, door))
        context.counters.add("samples", count)
        return context.teach(inputs)

    def state(self) -> Mapping[str, Stateful]:
        return {}
