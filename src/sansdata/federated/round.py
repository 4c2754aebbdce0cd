"""One round as the server sees it, whatever carries the messages: asks, judges each reply, aggregates, counts."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ClientLost, DivergedError, ReplyRefused
from ..streams import Streams
from .algo import ServerAlgo
from .payload import Payload, decoding


def client_streams(seed: int, client: int, round: int) -> Streams:
    """One client's randomness in one round. It hangs on nothing but these three numbers, so that another client more,
    or another order, changes nobody's."""
    streams = Streams(seed, rank=1 + client)  # rank 0 is the server
    streams.begin(round)
    return streams


def select(seed: int, round: int, clients: int, active: int) -> list[int]:
    """The round's clients, ascending: those with the smallest of one random number each, drawn from their own
    streams."""
    drawn = [float(torch.rand((), generator=client_streams(seed, one, round)("selection"))) for one in range(clients)]
    return sorted(sorted(range(clients), key=lambda one: (drawn[one], one))[:active])


class Round:
    """A round in the making: `ask`, then `take` for each client, then `close`."""

    def __init__(self, server: ServerAlgo, number: int) -> None:
        self.server, self.number = server, number
        self.chosen: list[int] = []
        self.replies: dict[int, Payload] = {}
        self.refused: list[dict[str, Any]] = []
        self.lost: list[dict[str, Any]] = []
        self.down: dict[str, int] = {}
        self.up: dict[str, int] = {}
        self.server_seconds = self.client_seconds = 0.0

    def ask(self, clients: Sequence[int]) -> dict[int, Payload]:
        """The message to each of the round's clients."""
        start = time.perf_counter()
        self.chosen = list(clients)
        self.server.context.streams.begin(self.number)
        self.server.forget_round()
        messages = self.server.configure(self.number, clients)
        for message in messages.values():
            self.down = added(self.down, message.nbytes())
        self.server_seconds += time.perf_counter() - start
        return messages

    def take(self, client: int, answer: Callable[[], Payload], seconds: float | None = None) -> None:
        """Fetches a reply and judges it by itself: it is kept, refused, or lost. seconds: of the client's training;
        without it, those that `answer` takes."""
        start = time.perf_counter()
        try:
            reply = answer()
            with decoding("a reply that cannot be counted"):
                self.up = added(self.up, reply.nbytes())
        except ClientLost as fault:
            self.lost.append(_named(client, str(fault)))
            return
        except (ReplyRefused, DivergedError) as fault:
            self.refused.append(_named(client, str(fault)))
            return
        finally:
            self.client_seconds += time.perf_counter() - start if seconds is None else seconds
        start = time.perf_counter()
        try:
            self.server.check(client, self.number, reply)
            self.replies[client] = reply
        except ReplyRefused as fault:
            self.refused.append(_named(client, str(fault)))
        self.server_seconds += time.perf_counter() - start

    def close(self) -> dict[str, Any]:
        """Judges the replies beside one another and aggregates in the order of the client ids, whoever answered first;
        gives the round's line of metrics.

        Where no reply is left the server stays as it was, and also where what they come to is not finite: then the
        line has the reason as `undone`.
        """
        start = time.perf_counter()
        replies = dict(sorted(self.replies.items()))
        for client, reason in self.server.outliers(replies).items() if replies else ():
            self.refused.append(_named(client, reason))
            del replies[client]
        before = copy.deepcopy({name: dict(part.state_dict()) for name, part in self.server.state().items()})
        figures, undone = {}, ""
        try:
            figures = self.server.aggregate(self.number, replies) if replies else {}
            if not all(is_finite(part.state_dict()) for part in self.server.state().values()):
                undone = "what the replies come to is not finite"
        except DivergedError as fault:
            undone = plain(str(fault))
        if undone:
            for name, part in self.server.state().items():
                part.load_state_dict(before[name])
            self.server.forget_round()
            figures, replies = {}, {}
        self.server_seconds += time.perf_counter() - start
        line = {
            "round": self.number, "clients": self.chosen, "taken": len(replies), "refused": self.refused,
            "lost": self.lost, "down": self.down, "up": self.up, "server_seconds": self.server_seconds,
            "client_seconds": self.client_seconds, "figures": figures,
        }  # fmt: skip
        return line | ({"undone": undone} if undone else {})


def is_finite(value: object) -> bool:
    """Whether a state, with all that it holds, is without nan and infinity."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(is_finite(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_finite(one) for one in value)
    return not isinstance(value, float) or math.isfinite(value)


def _named(client: int, reason: str) -> dict[str, Any]:
    return {"client": client, "reason": plain(reason)}


def plain(text: str) -> str:
    """What a client may have had a hand in, in one line that every log and page can hold."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))[:300]


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both counts, part by part."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
