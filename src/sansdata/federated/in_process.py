"""The server and all clients in one process, one after the other: nothing but Python, and always the same result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..contracts import Stateful, Streams
from ..errors import ClientLost, DivergedError, ReplyRefused
from .algo import ClientAlgo, Memory, ServerAlgo
from .data import ClientData
from .payload import Payload
from .scores import TestSet, spread

Wire = Callable[[int, int, bytes], bytes]
"""(round, client, the reply's bytes) -> the bytes that arrive; raises ClientLost. For faults on purpose."""


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


class InProcess:
    """A federated run: server, clients, and how many rounds they have made."""

    def __init__(
        self,
        server: ServerAlgo,
        client: ClientAlgo,
        data: Sequence[ClientData],
        active: int,
        seed: int,
        wire: Wire | None = None,
    ) -> None:
        self.server, self.client, self.data, self.active, self.seed = server, client, data, active, seed
        self.wire = wire
        self.memories: dict[int, Memory] = {}
        self.round = 0

    def run_round(self) -> dict[str, Any]:
        """One round; gives its line of metrics. What a refused client kept for itself stays with it.

        Where no reply is left the global model stays as it was.
        """
        number, server = self.round, self.server
        server.context.streams.begin(number)
        chosen = select(self.seed, number, len(self.data), self.active)
        start = time.perf_counter()
        messages = server.configure(number, chosen)
        server_seconds, client_seconds = time.perf_counter() - start, 0.0
        replies: dict[int, Payload] = {}
        refused, lost, up = [], [], {}
        for client in chosen:
            start = time.perf_counter()
            try:
                reply = self._ask(number, client, messages[client])
            except ClientLost as fault:
                lost.append({"client": client, "reason": str(fault)})
                continue
            except DivergedError as fault:
                refused.append({"client": client, "reason": str(fault)})
                continue
            except ReplyRefused as fault:
                refused.append({"client": client, "reason": str(fault)})
                continue
            finally:
                client_seconds += time.perf_counter() - start
            up = added(up, reply.nbytes())
            start = time.perf_counter()
            try:
                server.check(client, number, reply)
                replies[client] = reply
            except ReplyRefused as fault:
                refused.append({"client": client, "reason": str(fault)})
            server_seconds += time.perf_counter() - start
        start = time.perf_counter()
        figures = server.aggregate(number, replies) if replies else {}
        server_seconds += time.perf_counter() - start
        self.round += 1
        down: dict[str, int] = {}
        for message in messages.values():
            down = added(down, message.nbytes())
        return {
            "round": number, "clients": chosen, "taken": len(replies), "refused": refused, "lost": lost, "down": down,
            "up": up, "server_seconds": server_seconds, "client_seconds": client_seconds, "figures": figures,
        }  # fmt: skip

    def _ask(self, round: int, client: int, message: Payload) -> Payload:
        """One client's reply, through bytes both ways as on any other transport."""
        received = Payload.from_bytes(message.to_bytes())
        memory = self.memories.setdefault(client, {})
        streams = client_streams(self.seed, client, round)
        sent = self.client.answer(received, self.data[client], memory, streams).to_bytes()
        return Payload.from_bytes(sent if self.wire is None else self.wire(round, client, sent))

    def measure(self, tests: TestSet, personal: bool = False) -> dict[str, Any]:
        """Accuracy of the global model, whole and by client; `personal`: also of each client's own model."""
        context, found = self.server.context, {}
        if self.server.has_global_model:
            right = tests.correct(context.model, context.task, context.runtime)
            found["accuracy"] = float(right.mean())
            found["clients_accuracy"] = spread([right[ids].mean() for ids in tests.per_client if len(ids)])
            found |= {f"accuracy_{name}": self._accuracy_at(state, tests) for name, state in self._others().items()}
        if personal or not self.server.has_global_model:
            found["personal_accuracy"] = self._personal(tests)
        return found

    def _others(self) -> Mapping[str, Any]:
        return self.server.other_models()

    def _accuracy_at(self, state: Mapping[str, torch.Tensor], tests: TestSet) -> float:
        context, model = self.client.context, self.client.context.model
        model.load_state_dict(state)
        return float(tests.correct(model, context.task, context.runtime).mean())

    def _personal(self, tests: TestSet) -> dict[str, Any]:
        """Each client's own model on its own mix; nothing of the run changes."""
        accuracies, context = [], self.client.context
        messages = self.server.configure(self.round, range(len(self.data)))
        for client, ids in enumerate(tests.per_client):
            if len(ids):
                streams = client_streams(self.seed, client, self.round)
                self.client.personalise(messages[client], self.data[client], self.memories.get(client, {}), streams)
                accuracies.append(float(tests.correct(context.model, context.task, context.runtime, ids).mean()))
        return spread(accuracies) | {"each": accuracies}

    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a round."""
        parts: dict[str, Stateful] = {"run": _Position(self)}
        return parts | {f"server.{name}": part for name, part in self.server.state().items()}


class _Position:
    """How far a run is, and what the clients keep."""

    def __init__(self, run: InProcess) -> None:
        self.run = run

    def state_dict(self) -> dict[str, Any]:
        memories = {str(client): dict(memory) for client, memory in self.run.memories.items()}
        return {"round": self.run.round, "memories": memories}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run.round = state["round"]
        self.run.memories = {int(client): dict(memory) for client, memory in state["memories"].items()}


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both counts, part by part."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
