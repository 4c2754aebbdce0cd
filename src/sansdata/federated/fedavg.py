"""FedAvg (McMahan et al. 2017): local SGD, then the mean of the clients' models by their number of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pydantic
from torch import Tensor

from ..config import Strict
from ..contracts import Stateful
from ..streams import Streams
from .aggregate import average, buffer_names, state_of, weight_names
from .algo import ClientAlgo, ClientContext, Memory, ServerAlgo, ServerContext
from .census import Sizes
from .checks import Form, distance, form_of, length, outliers, require_counters, require_near
from .data import ClientData
from .local import AddTerms, LocalSettings, LocalTraining
from .payload import Payload

MODEL = "model"
STATISTICS_RATIO = 1000.0
"""As `checks.HARMLESS_RATIO`, of BatchNorm's statistics."""


class FedAvgConfig(Strict):
    """max_update: a reply whose weights moved by more than so many times the length of those sent is refused (ours)."""

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
        self.examples = Sizes()
        self.weights = weight_names(context.model)

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedAvgClient(config, context)

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        self.sent = state_of(self.context.model)
        return {client: Payload({MODEL: dict(self.sent)}, {"round": round}) for client in clients}

    def form(self, client: int) -> Form:
        return Form({MODEL: form_of(self.sent)})

    def check(self, client: int, round: int, reply: Payload) -> None:
        """Beside form and numbers: counters and weights lie where so many steps from what was sent can lead."""
        super().check(client, round, reply)
        examples = self.examples.require(client, reply)
        # A client that keeps its own statistics also keeps its counters, over rounds that the server may have missed.
        require_counters(reply.parts[MODEL], self.sent, (round + 1) * self.config.local.steps_for(examples))
        update = distance(reply.parts[MODEL], self.sent, self.weights)
        require_near(update, self.farthest(round, examples))

    def farthest(self, round: int, examples: int) -> float:
        """How far from what was sent the weights of an honest client can be: `max_update` times their length, which
        counts as at least 1, and with `local.clip` no farther than clipped gradients carry them."""
        local = self.config.local
        start = length(self.sent, self.weights)
        limit = self.config.max_update * max(1.0, start)
        if local.clip is None:
            return limit
        return min(limit, 1.01 * local.reach(examples, round) * (local.clip + local.weight_decay * (start + limit)))

    def outliers(self, replies: Mapping[int, Payload]) -> dict[int, str]:
        """Weights, per step, and BatchNorm's statistics that moved much farther than those of the others. Statistics
        follow the images, and where training is about to diverge they are far apart among honest clients too."""
        steps = {client: self.config.local.steps_for(reply.facts["examples"]) for client, reply in replies.items()}
        buffers = buffer_names(self.context.model)
        refused = outliers("BatchNorm statistics", *self.moved(buffers, replies), ratio=STATISTICS_RATIO)
        return refused | outliers("update", *self.moved(self.weights, replies), steps)

    def moved(self, names: Sequence[str], replies: Mapping[int, Payload]) -> tuple[dict[int, float], float]:
        """client -> how far these tensors are from what was sent, and how long that was, at least 1."""
        moved = {client: distance(reply.parts[MODEL], self.sent, names) for client, reply in replies.items()}
        return moved, max(1.0, length(self.sent, names))

    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        for client, reply in replies.items():
            self.examples.keep(client, reply)
        self.context.model.load_state_dict(self.combine(replies))
        return {}

    def combine(self, replies: Mapping[int, Payload]) -> dict[str, Tensor]:
        """The new global model: the mean by number of examples."""
        models = [reply.parts[MODEL] for reply in replies.values()]
        return average(models, [reply.facts["examples"] for reply in replies.values()])

    def state(self) -> Mapping[str, Stateful]:
        return {"model": self.context.model, "examples": self.examples}
