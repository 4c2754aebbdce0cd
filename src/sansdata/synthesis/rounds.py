"""Methods that acquire and teach in turn: an acquisition, then some student steps, again and again."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..arithmetic import ceil_div
from ..columns import Inputs
from ..contracts import Batch
from ..memory import Pool, Slot
from ..method import Method
from .augment import View
from .pooled import draw, keep


@dataclass(frozen=True)
class Round:
    """How long a round is.

    steps: of the student, behind each acquisition. moves: of an acquisition. warmup: further moves of acquisition,
    before the first round; -1 where the first round is without one, because the student begins.
    """

    steps: int
    moves: int = 1
    warmup: int = 0


class Schedule(Slot):
    """Which move is next: 'transfers_left' says how many student steps the present round still has."""

    def __init__(self, length: Round, **more: Any) -> None:
        """more: what a method keeps beside the count, saved with it."""
        super().__init__(**more, transfers_left=0)
        self.steps = length.steps

    @property
    def next_move(self) -> str:
        return "transfer" if self["transfers_left"] > 0 else "acquire"

    def begin_steps(self) -> None:
        """The acquisition is over; the student's part of the round begins."""
        self["transfers_left"] = self.steps

    def end_step(self) -> None:
        self["transfers_left"] -= 1


class InRounds(Method):
    """A method whose moves a `schedule` orders. It is part of the method's state, by whatever name."""

    schedule: Schedule

    @classmethod
    @abstractmethod
    def round_of(cls, config: Any) -> Round:
        """The length of a round under these settings."""

    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        length = cls.round_of(config)
        return {"acquire": length.warmup + ceil_div(steps, length.steps) * length.moves, "transfer": steps}

    def next_move(self) -> str:
        return self.schedule.next_move


class PooledRounds(InRounds):
    """Rounds whose acquisitions go into a `pool`, from all of which the student learns."""

    pool: Pool

    @property
    def view(self) -> View:
        """How the student sees images of the pool; default: the setting of that name."""
        return self.config.view

    def keep(self, images: Inputs, targets: Tensor) -> None:
        """Adds images (B, C, H, W) in unit space, or other inputs as they travel, to the pool, with the classes (B,)
        that they are to show."""
        keep(self.pool, images, targets, self.context, self.view)

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        return draw(self.pool, self.context, self.config.transfer.batch, self.view)
