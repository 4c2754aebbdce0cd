"""Which node is which client, in a run whose nodes come and go."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...errors import ClientLost, ReplyRefused

log = logging.getLogger(__name__)


class Nodes:
    """The nodes that were met, and what of them outlives a stop: the name of the run, and its rounds."""

    def __init__(self, clients: int, wait: float) -> None:
        self.clients, self.wait = clients, wait
        self.run = os.urandom(8).hex()
        """A name of this run, by which a node knows what it has kept of it."""
        self.done = 0
        """Rounds that were made."""
        self.node: dict[int, int] = {}
        """client -> node, of those that have ever been seen."""
        self.names: dict[int, int | None] = {}
        """node -> its client, None where it is left out."""

    def meet(self, grid: Any, wanted: int, ask: Callable[[list[int]], Iterable[tuple[int, Callable[[], int]]]]) -> None:
        """Asks nodes that are new which client they are, until `wanted` are known or `wait` is over.

        A node that names no client is left out of the run. One that names the client of another node that is still
        listed is asked again, for a node that was started anew is there before its old self is missed. ask(nodes)
        gives (node, a function that gives its client or raises).
        """
        end = time.monotonic() + self.wait
        while True:
            there = set(grid.get_node_ids())
            for node, claim in ask(sorted(there - self.names.keys())):
                try:
                    client = claim()
                except ClientLost:  # perhaps it does better when it is asked again
                    continue
                except ReplyRefused as fault:
                    log.warning("node %s is left out: %s", node, fault)
                    client = None
                if client is not None and self.node.get(client) in there:
                    log.info("node %s waits: another node is client %s", node, client)
                    continue
                self.names[node] = client
                if client is not None:
                    self.node[client] = node
            if len(self.node) >= wanted:
                return
            if time.monotonic() > end:
                log.warning("%s of %s clients came within %.0f s; the run goes on with them", len(self.node), wanted,
                            self.wait)  # fmt: skip
                return
            time.sleep(0.5)

    def reachable(self, grid: Any, clients: Sequence[int]) -> list[tuple[int, int]]:
        """(client, node) of those that are there now."""
        there = set(grid.get_node_ids())
        return [(client, self.node[client]) for client in clients if self.node.get(client) in there]

    def by_client(self, replies: Iterable[Any]) -> dict[int, Any]:
        """client -> reply, of the nodes that are clients."""
        by_name = {self.names.get(reply.metadata.src_node_id): reply for reply in replies}
        return {client: reply for client, reply in by_name.items() if client is not None}

    def state_dict(self) -> dict[str, Any]:
        return {"run": self.run, "done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run, self.done = state["run"], state["done"]


def count_nodes(grid: Any, wait: float = 60.0, settle: float = 3.0) -> int:
    """How many nodes are connected, once that has not changed for `settle` seconds. Raises ClientLost where there is
    none after `wait` seconds."""
    end, since, count = time.monotonic() + wait, time.monotonic(), 0
    while True:
        now = len(list(grid.get_node_ids()))
        if now != count:
            since, count = time.monotonic(), now
        if count and time.monotonic() - since >= settle:
            return count
        if time.monotonic() > end:
            if count:
                return count
            raise ClientLost(f"no node has connected within {wait:.0f} s")
        time.sleep(min(0.5, settle))
