"""What was asked of a service and what it cost: samples, requests and money apart, with a limit before each request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ...errors import BudgetSpent
from .offer import Offer

SOON = (0.5, 0.8, 0.95)
"""Shares of a limit at which it is said that it comes nearer."""


class Meter:
    """Counts are of all that was ever spent on the service, as far as it is known; `fresh` of this process alone."""

    def __init__(self, offer: Offer, warn: Callable[[str], None] | None = None) -> None:
        self.offer, self.warn = offer, warn or (lambda text: None)
        self.fresh = {"samples": 0, "requests": 0, "answered before": 0}
        self.kept = 0
        """Answers of earlier questions that need not be asked for again."""
        self._others, self._written = Counter[str](), Counter[str]()
        self._warned: set[tuple[str, float]] = set()
        self._lock = threading.Lock()

    def follow(self, spent: Mapping[str, int], samples: int = 0, requests: int = 0) -> None:
        """spent: what a journal has of everybody; samples, requests: what this process has just added to it."""
        with self._lock:
            self._written.update({"samples": samples, "requests": requests})
            self._others = Counter({name: spent.get(name, 0) - self._written[name] for name in ("samples", "requests")})

    @property
    def samples(self) -> int:
        return self._others["samples"] + self.fresh["samples"]

    @property
    def requests(self) -> int:
        return self._others["requests"] + self.fresh["requests"]

    @property
    def money(self) -> Decimal:
        return self.offer.costs(self.samples, self.requests)

    def spend(self, samples: int) -> None:
        """Before a request of so many samples is sent. Raises BudgetSpent where it would pass a limit."""
        with self._lock:
            if passed := self.beyond(samples, 1):
                name, _, most = passed
                raise BudgetSpent(
                    f"{self.offer.source}: the limit of {most:,} {name} is reached; nothing more is asked. Raise "
                    f"limits.{name} in the file of the service, and go on with --resume"
                )
            self.fresh["samples"] += samples
            self.fresh["requests"] += 1
            self._say_what_comes_near()

    def take_back(self, samples: int) -> None:
        """A request that was counted and never left."""
        with self._lock:
            self.fresh["samples"] -= samples
            self.fresh["requests"] -= 1

    def beyond(self, samples: int, requests: int) -> tuple[str, Any, Any] | None:
        """(name, what would be spent, limit) of a limit that so much more would pass; None where it passes none."""
        rows = ((name, *row) for name, row in self.ahead(samples, requests).items())
        return next((row for row in rows if row[1] > row[2]), None)

    def known_before(self, samples: int) -> None:
        """So many samples were answered out of what was kept."""
        self.fresh["answered before"] += samples

    def ahead(self, samples: int, requests: int) -> dict[str, tuple[Any, Any]]:
        """Name of each limit -> (what would be spent with so much more, the limit)."""
        limits, spent = self.offer.limits, (self.samples + samples, self.requests + requests)
        rows = {"samples": (spent[0], limits.samples), "requests": (spent[1], limits.requests),
                "money": (self.offer.costs(*spent), limits.money)}  # fmt: skip
        return {name: row for name, row in rows.items() if row[1] is not None}

    def _say_what_comes_near(self) -> None:
        for name, (spent, most) in self.ahead(0, 0).items():
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
