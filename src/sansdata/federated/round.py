"""One round as the server sees it, whatever carries the messages: asks, judges each reply, aggregates, counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..errors import ClientLost, DivergedError, ReplyRefused
from ..streams import Streams
from .algo import ServerAlgo
from .payload import Payload


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
        messages = self.server.configure(self.number, clients)
        for message in messages.values():
            self.down = added(self.down, message.nbytes())
        self.server_seconds += time.perf_counter() - start
        return messages

    def take(self, client: int, answer: Callable[[], Payload]) -> None:
        """Fetches a reply and judges it: it is kept, refused, or lost."""
        start = time.perf_counter()
        try:
            reply = answer()
        except ClientLost as fault:
            self.lost.append({"client": client, "reason": str(fault)})
            return
        except (ReplyRefused, DivergedError) as fault:
            self.refused.append({"client": client, "reason": str(fault)})
            return
        finally:
            self.client_seconds += time.perf_counter() - start
        self.up = added(self.up, reply.nbytes())
        start = time.perf_counter()
        try:
            self.server.check(client, self.number, reply)
            self.replies[client] = reply
        except ReplyRefused as fault:
            self.refused.append({"client": client, "reason": str(fault)})
        self.server_seconds += time.perf_counter() - start

    def close(self) -> dict[str, Any]:
        """Aggregates in the order of the client ids, whoever answered first; gives the round's line of metrics.

        Where no reply is left the global model stays as it was.
        """
        start = time.perf_counter()
        replies = dict(sorted(self.replies.items()))
        figures = self.server.aggregate(self.number, replies) if replies else {}
        self.server_seconds += time.perf_counter() - start
        return {
            "round": self.number, "clients": self.chosen, "taken": len(replies), "refused": self.refused,
            "lost": self.lost, "down": self.down, "up": self.up, "server_seconds": self.server_seconds,
            "client_seconds": self.client_seconds, "figures": figures,
        }  # fmt: skip


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both counts, part by part."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
