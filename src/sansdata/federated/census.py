"""What clients have said of their images, over all rounds: a client's images do not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ReplyRefused
from ..memory import Slot
from .payload import Payload


class Sizes:
    """What each client said of its number of examples at first: it cannot grow to outvote the others."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def get(self, client: int, otherwise: int) -> int:
        return self.values.get(client, otherwise)

    def require(self, client: int, reply: Payload) -> int:
        """Its number of examples. Raises ReplyRefused where that has changed."""
        examples = reply.facts["examples"]
        if examples != self.get(client, examples):
            raise ReplyRefused(f"it now counts {examples:,} examples, it had {self.values[client]:,}")
        return examples

    def keep(self, client: int, reply: Payload) -> None:
        self.values[client] = reply.facts["examples"]

    def state_dict(self) -> dict[str, int]:
        return {str(client): size for client, size in self.values.items()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.values = {int(client): size for client, size in state.items()}


class Census:
    """The fewest images of each class that every client must have by what it said."""

    def __init__(self) -> None:
        self.least = Slot()
        """client (as text) -> (K,) int64."""

    def require(self, client: int, least: Tensor, examples: int) -> None:
        """Raises ReplyRefused where these and what it said before are more images than it has."""
        needed = int(self._with(client, least).sum())
        if needed > examples:
            raise ReplyRefused(f"its labels of this and earlier rounds need {needed:,} images, it has {examples:,}")

    def keep(self, client: int, least: Tensor) -> None:
        self.least[str(client)] = self._with(client, least)

    def _with(self, client: int, least: Tensor) -> Tensor:
        before = self.least.values.get(str(client))
        return least.to(torch.int64) if before is None else torch.maximum(before.to("cpu"), least.to(torch.int64))

    def state_dict(self) -> dict[str, Any]:
        return self.least.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.least.load_state_dict(state)
