"""What was asked of a service and what it cost: samples, requests and money apart, with a limit before each request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ...arithmetic import ceil_div
from ...errors import BudgetSpent, ConfigError
from .offer import Offer

SOON = (0.5, 0.8, 0.95)
"""Shares of a limit at which it is said that it comes nearer."""


class Meter:
    """Counts are of all that was ever spent on the service, as far as it is known; `fresh` of this process alone."""

    def __init__(self, offer: Offer, warn: Callable[[str], None] | None = None) -> None:
        self.offer, self.warn = offer, warn or (lambda text: None)
        self.samples = self.requests = 0
        self.fresh = {"samples": 0, "requests": 0, "answered before": 0}
        self._warned: set[tuple[str, float]] = set()
        self._lock = threading.Lock()

    def follow(self, spent: Mapping[str, int]) -> None:
        """Begins with what was spent before, as a journal has it."""
        self.samples, self.requests = spent.get("samples", 0), spent.get("requests", 0)

    @property
    def money(self) -> Decimal:
        return self.offer.costs(self.samples, self.requests)

    def spend(self, samples: int) -> None:
        """Before a request of so many samples is sent. Raises BudgetSpent where it would pass a limit."""
        with self._lock:
            for name, after, most in self._after(samples, 1):
                if after > most:
                    raise BudgetSpent(
                        f"{self.offer.source}: the limit of {most:,} {name} is reached; nothing more is asked. Raise "
                        f"limits.{name} in the file of the service, and go on with --resume"
                    )
            self.samples, self.requests = self.samples + samples, self.requests + 1
            self.fresh["samples"] += samples
            self.fresh["requests"] += 1
            self._say_what_comes_near()

    def require(self, samples: int) -> None:
        """Before the first question: raises ConfigError where so many samples, in full requests, pass a limit."""
        for name, after, most in self._after(samples, ceil_div(samples, self.offer.batch)):
            if after > most:
                raise ConfigError(
                    f"{self.offer.source}: the run would bring {name} to {after:,}, and the limit is {most:,}. Take a "
                    f"smaller --budget, or raise limits.{name} in the file of the service"
                )

    def known_before(self, samples: int) -> None:
        """So many samples were answered out of what was kept."""
        self.fresh["answered before"] += samples

    def _after(self, samples: int, requests: int) -> list[tuple[str, Any, Any]]:
        """(name, what would be spent, limit) of each limit."""
        limits, ahead = self.offer.limits, (self.samples + samples, self.requests + requests)
        rows = [("samples", ahead[0], limits.samples), ("requests", ahead[1], limits.requests),
                ("money", self.offer.costs(*ahead), limits.money)]  # fmt: skip
        return [row for row in rows if row[2] is not None]

    def _say_what_comes_near(self) -> None:
        for name, spent, most in self._after(0, 0):
            passed = {(name, share) for share in SOON if spent >= most * Decimal(str(share))}
            if not passed <= self._warned:
                self._warned |= passed
                self.warn(f"{self.offer.source}: {spent:,} of at most {most:,} {name} are spent")

    def to_dict(self) -> dict[str, Any]:
        """For summary and report."""
        return {
            "source": self.offer.source, **{name.replace(" ", "_"): count for name, count in self.fresh.items()},
            "money": str(self.offer.costs(self.fresh["samples"], self.fresh["requests"])),
            "ever": {"samples": self.samples, "requests": self.requests, "money": str(self.money)},
        }  # fmt: skip
