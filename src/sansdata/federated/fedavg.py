"""FedAvg (McMahan et al. 2017): local SGD, then the mean of the clients' models by their number of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pydantic
from torch import Tensor

from ..config import Strict
from ..contracts import Stateful
from ..errors import ReplyRefused
from ..streams import Streams
from .aggregate import average, buffer_names, state_of
from .algo import ClientAlgo, ClientContext, Memory, ServerAlgo, ServerContext
from .checks import Form, form_of, require_near
from .data import ClientData
from .local import AddTerms, LocalSettings, LocalTraining
from .payload import Payload

MODEL = "model"


class FedAvgConfig(Strict):
    """max_update: a reply whose update is longer than so many times the model that was sent is refused (ours)."""

    local: LocalSettings = LocalSettings()
    max_update: float = pydantic.Field(default=10.0, gt=0)


class FedAvgClient(ClientAlgo):
    """Local SGD on the client's images. Other hosts add terms, or correct the gradient."""

    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.receive(payload, memory)
        self.train(payload, data, streams)
        return Payload({MODEL: self.give(memory)})

    def receive(self, payload: Payload, memory: Memory) -> None:
        """The server's model into the work space; with `batch_norm: local` under the client's own statistics."""
        state = dict(payload.parts[MODEL])
        if self.context.batch_norm == "local":
            state |= {name: memory[f"buffer/{name}"] for name in state if f"buffer/{name}" in memory}
        self.context.model.load_state_dict(state)

    def train(
        self,
        payload: Payload,
        data: ClientData,
        streams: Streams,
        add_terms: AddTerms | None = None,
        correct: Any = None,
    ) -> Tensor:
        """Local training in the work space; gives the labels that were seen, (K,) int32."""
        context = self.context
        training = LocalTraining(
            context.model, context.task, context.runtime, self.config.local, context.batch_norm != "frozen"
        )
        return training.run(data, payload.facts["round"], streams, add_terms, correct)

    def give(self, memory: Memory) -> dict[str, Tensor]:
        """The trained model as it is sent back."""
        state = state_of(self.context.model)
        if self.context.batch_norm == "local":
            memory |= {f"buffer/{name}": state[name] for name in buffer_names(self.context.model)}
        return state


class FedAvg(ServerAlgo):
    """Sends the model, averages what comes back."""

    Config: ClassVar[type] = FedAvgConfig
    reveals = "single models of every active client, number of examples"

    def __init__(self, config: Any, context: ServerContext) -> None:
        super().__init__(config, context)
        self.sent: dict[str, Tensor] = {}
        """The model that went out in this round: what updates are counted from."""
        self.examples: dict[int, int] = {}
        """What each client said of its size at first; a client cannot grow to outvote the others."""

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedAvgClient(config, context)

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        self.sent = state_of(self.context.model)
        return {client: Payload({MODEL: dict(self.sent)}, {"round": round}) for client in clients}

    def form(self, client: int) -> Form:
        return Form({MODEL: form_of(self.sent)})

    def check(self, client: int, round: int, reply: Payload) -> None:
        super().check(client, round, reply)
        require_near(reply.parts[MODEL], self.sent, self.config.max_update)
        known = self.examples.get(client, reply.facts["examples"])
        if reply.facts["examples"] != known:
            raise ReplyRefused(f"it now counts {reply.facts['examples']:,} examples, it had {known:,}")

    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        self.examples |= {client: reply.facts["examples"] for client, reply in replies.items()}
        self.context.model.load_state_dict(self.combine(replies))
        return {}

    def combine(self, replies: Mapping[int, Payload]) -> dict[str, Tensor]:
        """The new global model: the mean by number of examples."""
        models = [reply.parts[MODEL] for reply in replies.values()]
        return average(models, [reply.facts["examples"] for reply in replies.values()])

    def state(self) -> Mapping[str, Stateful]:
        return {"model": self.context.model, "examples": _Sizes(self.examples)}


class _Sizes:
    """The sizes that clients named."""

    def __init__(self, values: dict[int, int]) -> None:
        self.values = values

    def state_dict(self) -> dict[str, int]:
        return {str(client): size for client, size in self.values.items()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.values.clear()
        self.values.update({int(client): size for client, size in state.items()})
