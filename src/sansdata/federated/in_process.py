"""The server and all clients in one process, one after the other: nothing but Python, and always the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..contracts import Stateful
from ..errors import DivergedError
from .aggregate import state_of
from .algo import ClientAlgo, Memory, ServerAlgo
from .data import ClientData
from .payload import Payload
from .round import Round, client_streams, select
from .scores import TestSet, majority_share, spread

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
        self.first = state_of(server.context.model)
        """The common start."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the common start."""
        digest = hashlib.sha256()
        for name, value in self.first.items():
            digest.update(name.encode() + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

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

    def measure_round(self, tests: TestSet) -> dict[str, float]:
        """'accuracy_NAME' of the server's further models, which are those of the round that was just made: no
        checkpoint holds them."""
        context = self.server.context
        return {
            f"accuracy_{name}": float(tests.correct(model, context.task, context.runtime).mean())
            for name, model in self.server.other_models().items()
        }

    def measure(
        self,
        tests: TestSet,
        personal: bool = False,
        alone: Callable[[int], None] | None = None,
        listen: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Accuracy of the global model, whole and by client; `personal`: also of each client's own model, and of its
        most frequent class. alone: leaves a client's local-only model in the work space, to be measured as well.
        listen: called before each client; may raise to stop. Nothing of the run changes.

        A client that cannot be measured, such as one whose training diverges, is left out and named in `unmeasured`.
        """
        context, figures = self.server.context, {}
        if self.server.has_global_model:
            right = tests.correct(context.model, context.task, context.runtime)
            figures["accuracy"] = float(right.mean())
            figures |= _spread("clients_accuracy", [
                right[ids].mean() if len(ids) else None for ids in tests.per_client
            ])  # fmt: skip
        if not personal and self.server.has_global_model:
            return figures
        unmeasured: list[dict[str, Any]] = []
        figures |= _spread("personal_accuracy", self._each(tests, self.personal_model(), unmeasured, listen))
        figures |= _spread("majority_accuracy", [
            majority_share(one.counts(context.task.classes), tests.labels[ids]) if len(ids) else None
            for one, ids in zip(self.data, tests.per_client)
        ])  # fmt: skip
        if alone is not None:
            figures |= _spread("local_only_accuracy", self._each(tests, alone, unmeasured, listen))
        return figures | ({"unmeasured": unmeasured} if unmeasured else {})

    def personal_model(self) -> Callable[[int], None]:
        """A function of a client's number that leaves in the clients' work space the model this client would use
        itself after the rounds so far."""
        messages = self.server.configure(self.round, range(len(self.data)))

        def personalise(client: int) -> None:
            streams = client_streams(self.seed, client, self.round)
            self.client.personalise(messages[client], self.data[client], self.memories.get(client, {}), streams)

        return personalise

    def _each(
        self, tests: TestSet, make: Callable[[int], None], unmeasured: list[dict[str, Any]], listen: Callable[[], None]
    ) -> list[float | None]:
        """Per client, the accuracy on its own mix of what `make` leaves in the work space; None where there is none."""
        context, accuracies = self.client.context, []
        for client, ids in enumerate(tests.per_client):
            accuracies.append(None)
            if not len(ids):
                continue
            listen()
            try:
                make(client)
                accuracies[-1] = float(tests.correct(context.model, context.task, context.runtime, ids).mean())
            except DivergedError as fault:
                unmeasured.append({"client": client, "reason": str(fault)})
        return accuracies

    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a round."""
        parts: dict[str, Stateful] = {"run": _Position(self)}
        return parts | {f"server.{name}": part for name, part in self.server.state().items()}


def _spread(name: str, accuracies: Sequence[float | None]) -> dict[str, Any]:
    """The figure with its values by client, in their order; None for one that has none. Nothing where none has one."""
    there = [one for one in accuracies if one is not None]
    each = [None if one is None else float(one) for one in accuracies]
    return {name: spread(there) | {"each": each}} if there else {}


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
