"""The order of synthesis calls and student steps in NAYER and CAE-DFKD: rounds of calls, then rounds of both."""

from __future__ import annotations

from typing import Protocol

from ..memory import Slot


class RoundSettings(Protocol):
    """The settings of a method that say how long its rounds are."""

    warmup_rounds: int
    warmup_calls: int
    calls: int
    steps_per_round: int


class CallRounds(Slot):
    """Where a run stands: first `warmup_rounds` of `warmup_calls` calls each, then rounds of `calls` calls and
    `steps_per_round` student steps. A call makes one batch."""

    def __init__(self, settings: RoundSettings) -> None:
        super().__init__(round=0, calls=0, transfers_left=0)
        self.settings = settings

    @property
    def warm(self) -> bool:
        """Whether the student is taught by now."""
        return self["round"] >= self.settings.warmup_rounds

    @property
    def next_move(self) -> str:
        return "transfer" if self["transfers_left"] > 0 else "acquire"

    def end_call(self) -> None:
        settings = self.settings
        self["calls"] += 1
        if self["calls"] == (settings.calls if self.warm else settings.warmup_calls):
            self["transfers_left"] = settings.steps_per_round if self.warm else 0
            self["round"], self["calls"] = self["round"] + 1, 0

    def end_step(self) -> None:
        self["transfers_left"] -= 1


def calls_for(settings: RoundSettings, steps: int) -> int:
    """How many calls a run of so many student steps makes, those of the warm-up included."""
    rounds = -(-steps // settings.steps_per_round)
    return settings.warmup_rounds * settings.warmup_calls + rounds * settings.calls
