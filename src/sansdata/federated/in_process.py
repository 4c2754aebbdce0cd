"""The server and all clients in one process, one after the other: nothing but Python, and always the same result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..contracts import Stateful
from .algo import ClientAlgo, Memory, ServerAlgo
from .data import ClientData
from .payload import Payload
from .round import Round, client_streams, select
from .scores import TestSet, spread

Wire = Callable[[int, int, bytes], bytes]
"""(round, client, the reply's bytes) -> the bytes that arrive; raises ClientLost. For faults on purpose."""


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
        """One round; gives its line of metrics. What a refused client kept for itself stays with it."""
        number = self.round
        one = Round(self.server, number)
        chosen = select(self.seed, number, len(self.data), self.active)
        messages = one.ask(chosen)
        for client in chosen:
            one.take(client, lambda client=client: self._ask(number, client, messages[client]))
        line = one.close()
        self.round += 1
        return line

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
