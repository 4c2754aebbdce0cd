"""A Flower strategy around the server half of any method: selection, judgement and order as in a run in process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...engine.checkpoint import Checkpoints
from ...errors import ClientLost, ReplyRefused, ResumeError
from ...files import by_step
from ..aggregate import state_of
from ..algo import ServerAlgo
from ..payload import MAX_FACTS_BYTES, Payload
from ..round import Round, plain, select
from .answers import accuracies, client_of, payload_of, seconds_of
from .client import LAST, RUN, SINCE
from .nodes import Nodes
from .records import flower, to_records

log = logging.getLogger(__name__)

OnRound = Callable[[dict[str, Any]], None]


def make_strategy(
    server: ServerAlgo,
    active: int,
    seed: int,
    on_round: OnRound | None = None,
    wait: float = 60.0,
    *,
    evaluate_every: int = 0,
    checkpoints: str | Path | None = None,
    checkpoint_every: int = 5,
    resume: bool = False,
) -> Any:
    """The strategy; `start(grid, initial_arrays(), rounds - done)` runs it, where `done` is 0 but for a resumed run.

    on_round gets each round's line of metrics, the clients' accuracies in it where they were measured. wait: seconds
    within which all clients must have connected for the first round; later rounds go on without those that are gone,
    and take them back when they return. evaluate_every: rounds between evaluations at the clients, and after the last
    one of server.context.rounds; 0 is never. checkpoints: a folder that the server saves itself in, every
    `checkpoint_every` rounds and after the last. Flower counts rounds from 1, we from 0.

    Raises ResumeError where `resume` is asked for and the folder has no checkpoint of such a server.
    """
    from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord  # pyright: ignore
    from flwr.serverapp import Grid  # pyright: ignore[reportMissingImports]
    from flwr.serverapp.strategy import Strategy  # pyright: ignore[reportMissingImports]

    flower()

    class Sansdata(Strategy):
        """Rounds of `server`."""

        def __init__(self) -> None:
            self.nodes = Nodes(server.context.clients, wait)
            self.keep = None if checkpoints is None else Checkpoints(Path(checkpoints), server.context.runtime)
            if resume:
                self._restore()
            self.done = self.nodes.done
            self.round = Round(server, 0)
            self.sent_at = time.monotonic()
            self.line: dict[str, Any] = {}

        def _state(self) -> dict[str, Any]:
            return {"nodes": self.nodes} | {f"server.{name}": part for name, part in server.state().items()}

        def _restore(self) -> None:
            newest, faults = (None, []) if self.keep is None else self.keep.newest()
            if self.keep is None or newest is None:
                raise ResumeError(f"no checkpoint in {checkpoints} {'; '.join(faults)}".rstrip())
            self.keep.load(newest, self._state())

        def initial_arrays(self) -> ArrayRecord:
            return ArrayRecord(state_of(server.context.model))

        def summary(self) -> None: ...

        def configure_train(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            number, clients = self.done + server_round - 1, server.context.clients
            self.meet(grid, clients if server_round == 1 else 0)
            chosen = select(seed, number, clients, active)
            self.round = Round(server, number)
            messages = self.round.ask(chosen)
            for message in messages.values():
                message.facts |= {RUN: self.nodes.run, SINCE: self._since(number)}
            self.sent_at = time.monotonic()
            # A list: Flower's grid goes through the messages twice.
            return [
                Message(to_records(messages[client]), node, MessageType.TRAIN)
                for client, node in self.nodes.reachable(grid, chosen)
            ]

        def _since(self, number: int) -> int:
            """Rounds of the oldest checkpoint that this server may be resumed from: nodes keep what they knew then."""
            if self.keep is None:
                return number
            return min(number, next((step for step, _ in by_step(self.keep.directory)), 0))

        def meet(self, grid: Grid, wanted: int) -> None:
            """Asks new nodes which client they are."""

            def ask(new: list[int]) -> Iterable[tuple[int, Callable[[], int]]]:
                queries = [Message(to_records(Payload()), node, MessageType.QUERY) for node in new]
                for reply in grid.send_and_receive(queries, timeout=wait) if queries else ():
                    yield reply.metadata.src_node_id, lambda reply=reply: client_of(reply, server.context.clients)

            self.nodes.meet(grid, wanted, ask)

        def aggregate_train(
            self, server_round: int, replies: Iterable[Message]
        ) -> tuple[ArrayRecord | None, MetricRecord | None]:
            answers, passed = self.nodes.by_client(replies), time.monotonic() - self.sent_at
            for client in self.round.chosen:
                reply = answers.get(client)
                most = server.form(client).nbytes
                self.round.take(
                    client, lambda reply=reply, most=most: payload_of(reply, most), seconds_of(reply, passed)
                )
            self.line = line = self.round.close()
            self.nodes.done = line["round"] + 1
            if self.keep is not None and (self._is_last() or self.nodes.done % checkpoint_every == 0):
                self.keep.save(self.nodes.done, self._state(), {"round": self.nodes.done})
            numbers = {"taken": line["taken"], "refused": len(line["refused"]), "lost": len(line["lost"])}
            return self.initial_arrays(), MetricRecord(numbers)

        def _is_last(self) -> bool:
            return self.nodes.done >= server.context.rounds

        def configure_evaluate(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            if not evaluate_every or not (self._is_last() or self.nodes.done % evaluate_every == 0):
                return []
            server.context.streams.begin(self.nodes.done)
            reachable = self.nodes.reachable(grid, range(server.context.clients))
            messages = server.configure(self.nodes.done, [client for client, _ in reachable])
            for message in messages.values():
                message.facts |= {RUN: self.nodes.run, LAST: self._is_last()}
            return [Message(to_records(messages[client]), node, MessageType.EVALUATE) for client, node in reachable]

        def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
            figures, unmeasured = {}, []
            for client, reply in sorted(self.nodes.by_client(replies).items()):
                try:
                    figures[client] = payload_of(reply, MAX_FACTS_BYTES).facts
                except (ClientLost, ReplyRefused) as fault:
                    unmeasured.append({"client": client, "reason": plain(str(fault))})
            self.line |= accuracies(figures, unmeasured)
            if on_round is not None:
                on_round(self.line)
            means = {name: one["mean"] for name, one in self.line.items() if name.endswith("_accuracy")}
            return MetricRecord(means) if means else None

    return Sansdata()
