"""What BOOT can be told, with defaults and their sources."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from ...config import Strict
from ...models.diffusion.steerable import MOST_CALLS
from ...training.transfer import TransferSettings

Strength = Annotated[float, pydantic.Field(ge=0, le=100)]


class BOOTConfig(Strict):
    """delta: the share of the way between two times of a step. boundary: beta, the weight of what the teacher sees in
    pure noise; boundary_share: of the batch, on which it is taken. weight: 'steps' divides by (1 - r)^2, 'even' does
    not. anchored: exact on every schedule; without, the paper's form, which wants a schedule that ends in pure noise.
    calls: from how many times, evenly spread, the student learns to start, and so in how many calls it is sampled.
    warmup: steps on the boundary alone, at all times; None is none for a student that starts at it, else 500. guidance:
    of the teacher, in place of its own: a strength, or the range out of which each sample draws one, of which the
    student is told. target_grad: gradients pass through the target and the teacher too.

    Where the paper could not be read "memory" marks what is said of it elsewhere.
    """

    delta: float = pydantic.Field(default=0.04, gt=0, lt=0.5)  # memory
    boundary: float = pydantic.Field(default=0.5, ge=0)  # memory
    boundary_share: float = pydantic.Field(default=1.0, gt=0, le=1)  # paper: the whole batch
    weight: Literal["steps", "even"] = "steps"
    distance: Literal["l2", "huber"] = "l2"
    solver: Literal["euler", "heun"] = "euler"
    anchored: bool = True  # ours; the paper's form is the preset 'paper'
    calls: int = pydantic.Field(default=1, ge=1, le=MOST_CALLS)  # paper: 1
    warmup: int | None = pydantic.Field(default=None, ge=0)  # ours
    guidance: Strength | tuple[Strength, Strength] | None = None
    ema: float = pydantic.Field(default=0.9999, ge=0, lt=1)  # paper: of the weights that are evaluated
    target_grad: bool = False
    steps: int = pydantic.Field(default=100_000, ge=1)  # ours: "hundreds of thousands" at scale
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-4, weight_decay=0.0, schedule="constant", batch=64, match="mse", clip=1.0
    )  # ours

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> BOOTConfig:
        if isinstance(self.guidance, tuple) and not self.guidance[0] < self.guidance[1]:
            raise ValueError(f"guidance must be a strength or a range [lowest, highest], got {list(self.guidance)}")
        if self.calls > 1 and not self.anchored:
            raise ValueError("several calls start further down than at pure noise, which the form without anchor lacks")
        if self.delta * self.calls >= 1:
            raise ValueError(f"the last of {self.calls} calls starts at {1 / self.calls:.3g}: delta must lie below it")
        return self

    @property
    def guided(self) -> bool:
        """Whether the student is told how strongly."""
        return isinstance(self.guidance, tuple)
