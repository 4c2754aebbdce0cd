"""A Flower strategy around the server half of any method: selection, judgement and order as in a run in process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from ...errors import ClientLost, ReplyRefused
from ..aggregate import state_of
from ..algo import ServerAlgo
from ..payload import Payload
from ..round import Round, select
from .client import CLIENT
from .records import flower, from_records, to_records

log = logging.getLogger(__name__)

OnRound = Callable[[dict[str, Any]], None]


def make_strategy(
    server: ServerAlgo, active: int, seed: int, on_round: OnRound | None = None, wait: float = 60.0
) -> Any:
    """The strategy; its `start(grid, initial_arrays(), num_rounds)` runs. on_round gets each round's line of metrics.

    wait: seconds within which all clients must have connected for the first round; later rounds go on without those
    that are gone, and take them back when they return. Flower counts rounds from 1, we from 0.
    """
    from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord  # pyright: ignore
    from flwr.serverapp import Grid  # pyright: ignore[reportMissingImports]
    from flwr.serverapp.strategy import Strategy  # pyright: ignore[reportMissingImports]

    flower()

    class Sansdata(Strategy):
        """Rounds of `server`."""

        def __init__(self) -> None:
            self.nodes: dict[int, int] = {}
            """client -> node, of those that have ever been seen."""
            self.names: dict[int, int | None] = {}
            """node -> its client, None where it is left out."""
            self.round = Round(server, 0)

        def initial_arrays(self) -> ArrayRecord:
            return ArrayRecord(state_of(server.context.model))

        def summary(self) -> None: ...

        def configure_train(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            number, clients = server_round - 1, server.context.clients
            self.meet(grid, clients if number == 0 else 0)
            there = set(grid.get_node_ids())
            chosen = select(seed, number, clients, active)
            self.round = Round(server, number)
            messages = self.round.ask(chosen)
            reachable = [client for client in chosen if self.nodes.get(client) in there]
            # A list: Flower's grid goes through the messages twice.
            return [Message(to_records(messages[one]), self.nodes[one], MessageType.TRAIN) for one in reachable]

        def meet(self, grid: Grid, wanted: int) -> None:
            """Asks nodes that are new which client they are, until `wanted` are known or `wait` is over.

            A node that names no client, or one that another live node has, is left out of the run.
            """
            end = time.monotonic() + wait
            while True:
                there = set(grid.get_node_ids())
                new = sorted(there - self.names.keys())
                asked = [Message(to_records(Payload()), node, MessageType.QUERY) for node in new]
                for reply in grid.send_and_receive(asked, timeout=wait) if asked else ():
                    node = reply.metadata.src_node_id
                    try:
                        client = _client_of(reply, server.context.clients)
                    except ClientLost:  # perhaps it does better when it is asked again
                        continue
                    except ReplyRefused as fault:
                        log.warning("node %s is left out: %s", node, fault)
                        client = None
                    if client is not None and self.nodes.get(client) in there:
                        log.warning("node %s is left out: another node is client %s", node, client)
                        client = None
                    self.names[node] = client
                    if client is not None:
                        self.nodes[client] = node
                if len(self.nodes) >= wanted or time.monotonic() > end:
                    return
                time.sleep(0.5)

        def aggregate_train(
            self, server_round: int, replies: Iterable[Message]
        ) -> tuple[ArrayRecord | None, MetricRecord | None]:
            came = {self.names.get(reply.metadata.src_node_id): reply for reply in replies}
            for client in self.round.chosen:
                self.round.take(client, lambda client=client: _payload(came.get(client)))
            line = self.round.close()
            if on_round is not None:
                on_round(line)
            numbers = {"taken": line["taken"], "refused": len(line["refused"]), "lost": len(line["lost"])}
            return self.initial_arrays(), MetricRecord(numbers)

        def configure_evaluate(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            return []

        def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
            return None

    return Sansdata()


def _client_of(reply: Any, clients: int) -> int:
    """Which client a node says it is. Raises ClientLost and ReplyRefused."""
    client = _payload(reply).facts.get(CLIENT)
    if type(client) is not int or not 0 <= client < clients:
        raise ReplyRefused(f"it says it is client {str(client)[:50]}, not one of 0 to {clients - 1}")
    return client


def _payload(reply: Any) -> Payload:
    """Raises ClientLost where nothing or an error came, ReplyRefused where it is no payload."""
    if reply is None:
        raise ClientLost("no reply: the node is gone, or too late")
    if reply.has_error():
        raise ClientLost(f"the node answered with an error: {str(reply.error.reason)[:200]}")
    if not reply.has_content():
        raise ReplyRefused("a reply without content")
    return from_records(reply.content)
