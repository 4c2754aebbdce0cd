"""A Flower strategy around the server half of any method: selection, judgement and order as in a run in process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
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

OnRound = Callable[[dict[str, Any]], None]


class Rounds:
    """What a strategy knows between Flower's calls: the run's nodes, the round in the making, its line of metrics, and
    where the server saves itself."""

    def __init__(
        self, server: ServerAlgo, active: int, seed: int, wait: float, *,
        evaluate_every: int, keep: Checkpoints | None, checkpoint_every: int,
    ) -> None:  # fmt: skip
        self.server, self.active, self.seed = server, active, seed
        self.evaluate_every, self.keep, self.checkpoint_every = evaluate_every, keep, checkpoint_every
        self.nodes = Nodes(server.context.clients, wait)
        self.round = Round(server, 0)
        self.sent_at = time.monotonic()
        self.line: dict[str, Any] = {}

    def restore(self) -> None:
        """Goes on where the newest checkpoint was written. Raises ResumeError where there is none."""
        if self.keep is None:
            raise ResumeError("nothing to resume from: the strategy was given no folder of checkpoints")
        newest, faults = self.keep.newest()
        if newest is None:
            raise ResumeError(f"no checkpoint in {self.keep.directory} {'; '.join(faults)}".rstrip())
        self.keep.load(newest, self._state())

    def ask(self, number: int) -> dict[int, Payload]:
        """The message to each client of a round."""
        self.round = Round(self.server, number)
        messages = self.round.ask(select(self.seed, number, self.server.context.clients, self.active))
        for message in messages.values():
            message.facts |= {RUN: self.nodes.run, SINCE: self._since(number)}
        self.sent_at = time.monotonic()
        return messages

    def take(self, replies: Iterable[Any]) -> dict[str, Any]:
        """The round's line of metrics, once its replies are judged and the server has moved and saved itself."""
        answers, passed = self.nodes.by_client(replies), time.monotonic() - self.sent_at
        for client in self.round.chosen:
            reply = answers.get(client)
            most = self.server.form(client).nbytes
            self.round.take(client, lambda reply=reply, most=most: payload_of(reply, most), seconds_of(reply, passed))
        self.line = self.round.close()
        self.nodes.done = self.line["round"] + 1
        if self.keep is not None and (self._is_last or self.nodes.done % self.checkpoint_every == 0):
            self.keep.save(self.nodes.done, self._state(), {"round": self.nodes.done})
        return self.line

    @property
    def is_measured(self) -> bool:
        """Whether the clients are asked how well they do after the round that was made last."""
        every = self.evaluate_every
        return bool(every) and (self._is_last or self.nodes.done % every == 0)

    def ask_accuracies(self, clients: Sequence[int]) -> dict[int, Payload]:
        """The message to each of these clients, by which it measures."""
        self.server.context.streams.begin(self.nodes.done)
        messages = self.server.configure(self.nodes.done, clients)
        for message in messages.values():
            message.facts |= {RUN: self.nodes.run, LAST: self._is_last}
        return messages

    def take_accuracies(self, replies: Iterable[Any]) -> dict[str, Any]:
        """The round's line, with what the clients measured in it."""
        figures, unmeasured = {}, []
        for client, reply in sorted(self.nodes.by_client(replies).items()):
            try:
                figures[client] = payload_of(reply, MAX_FACTS_BYTES).facts
            except (ClientLost, ReplyRefused) as fault:
                unmeasured.append({"client": client, "reason": plain(str(fault))})
        self.line |= accuracies(figures, unmeasured)
        return self.line

    @property
    def _is_last(self) -> bool:
        return self.nodes.done >= self.server.context.rounds

    def _since(self, number: int) -> int:
        """Rounds of the oldest checkpoint that this server may be resumed from: nodes keep what they knew then."""
        if self.keep is None:
            return number
        return min(number, next((step for step, _ in by_step(self.keep.directory)), 0))

    def _state(self) -> dict[str, Any]:
        return {"nodes": self.nodes} | {f"server.{name}": part for name, part in self.server.state().items()}


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
    `checkpoint_every` rounds and after the last.

    Raises ResumeError where `resume` is asked for and the folder has no checkpoint of such a server.
    """
    flower()

    from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord  # pyright: ignore
    from flwr.serverapp import Grid  # pyright: ignore[reportMissingImports]
    from flwr.serverapp.strategy import Strategy  # pyright: ignore[reportMissingImports]

    rounds = Rounds(
        server, active, seed, wait, evaluate_every=evaluate_every, checkpoint_every=checkpoint_every,
        keep=None if checkpoints is None else Checkpoints(Path(checkpoints), server.context.runtime),
    )  # fmt: skip
    if resume:
        rounds.restore()
    clients = server.context.clients

    class Sansdata(Strategy):
        """Flower's calls, answered by `rounds`. It counts rounds from 1, we from 0."""

        nodes, done = rounds.nodes, rounds.nodes.done

        def initial_arrays(self) -> ArrayRecord:
            return ArrayRecord(state_of(server.context.model))

        def summary(self) -> None: ...

        def configure_train(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            self._meet(grid, clients if server_round == 1 else 0)
            messages = rounds.ask(self.done + server_round - 1)
            # A list: Flower's grid goes through the messages twice.
            return [
                Message(to_records(messages[client]), node, MessageType.TRAIN)
                for client, node in self.nodes.reachable(grid, rounds.round.chosen)
            ]

        def _meet(self, grid: Grid, wanted: int) -> None:
            """Asks new nodes which client they are."""

            def ask(new: list[int]) -> Iterable[tuple[int, Callable[[], int]]]:
                queries = [Message(to_records(Payload()), node, MessageType.QUERY) for node in new]
                for reply in grid.send_and_receive(queries, timeout=wait) if queries else ():
                    yield reply.metadata.src_node_id, lambda reply=reply: client_of(reply, clients)

            self.nodes.meet(grid, wanted, ask)

        def aggregate_train(
            self, server_round: int, replies: Iterable[Message]
        ) -> tuple[ArrayRecord | None, MetricRecord | None]:
            line = rounds.take(replies)
            numbers = {"taken": line["taken"], "refused": len(line["refused"]), "lost": len(line["lost"])}
            return self.initial_arrays(), MetricRecord(numbers)

        def configure_evaluate(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            if not rounds.is_measured:
                return []
            reachable = self.nodes.reachable(grid, range(clients))
            messages = rounds.ask_accuracies([client for client, _ in reachable])
            return [Message(to_records(messages[client]), node, MessageType.EVALUATE) for client, node in reachable]

        def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
            line = rounds.take_accuracies(replies)
            if on_round is not None:
                on_round(line)
            means = {name: one["mean"] for name, one in line.items() if name.endswith("_accuracy")}
            return MetricRecord(means) if means else None

    return Sansdata()
