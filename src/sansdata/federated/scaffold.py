"""SCAFFOLD (Karimireddy et al. 2020): control variates take the clients' drift out of their gradients.

Client k: steps along g + c - c_k; then, with K steps of rate r, c_k' = c_k - c + (w_t - w_k) / (K r) (option II). With
momentum, which the paper leaves out, K r is how far all steps together carry a gradient (`LocalSettings.reach`).
Server, global rate 1: w = mean_k w_k, c <- c + 1/N sum_k (c_k' - c_k).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..contracts import Stateful
from ..errors import ReplyRefused
from ..memory import Slot
from ..streams import Streams
from .aggregate import average, parameter_names
from .algo import ClientAlgo, ClientContext, Memory, ServerContext
from .checks import Form, distance, form_of, length
from .data import ClientData
from .fedavg import MODEL, FedAvg, FedAvgClient
from .payload import Payload

CONTROL = "control"
MAX_ERROR = 0.01
"""Of a control, in parts of its length: a client adds and takes away float32 numbers of other sizes."""


class ScaffoldClient(FedAvgClient):
    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.receive(payload, memory)
        model, settings = self.context.model, self.config.local
        common = payload.parts[CONTROL]
        own = {name: memory.get(f"control/{name}", torch.zeros_like(value)) for name, value in common.items()}
        shift = {name: (common[name] - own[name]).to(value.device) for name, value in model.named_parameters()}

        def correct() -> None:
            for name, value in model.named_parameters():
                if value.grad is not None:
                    value.grad.add_(shift[name])

        self.train(payload, data, streams, correct=correct)
        reach = settings.reach(len(data), payload.facts["round"])
        change = {}
        for name, value in model.named_parameters():
            new = own[name] - common[name] + (payload.parts[MODEL][name] - value.detach().cpu()) / reach
            change[name] = new - own[name]
            memory[f"control/{name}"] = new
        return Payload({MODEL: self.give(memory), CONTROL: change})


class Scaffold(FedAvg):
    reveals = "single models and control variates of every active client, number of examples"

    def __init__(self, config: Any, context: ServerContext) -> None:
        super().__init__(config, context)
        self.control = Slot(**{name: torch.zeros_like(p, device="cpu") for name, p in context.model.named_parameters()})
        """c, by parameter."""

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return ScaffoldClient(config, context)

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        messages = super().configure(round, clients)
        for message in messages.values():
            message.parts[CONTROL] = dict(self.control.values)
        return messages

    def form(self, client: int) -> Form:
        return Form({MODEL: form_of(self.sent), CONTROL: form_of(self.control.values)})

    def check(self, client: int, round: int, reply: Payload) -> None:
        """A change of control follows from the weights: c_k' - c_k = (w_t - w_k) / (K r) - c."""
        super().check(client, round, reply)
        reach = self.config.local.reach(reply.facts["examples"], round)
        common, model = self.control.values, reply.parts[MODEL]
        expected = {name: (self.sent[name] - model[name]).double() / reach - c for name, c in common.items()}
        off = distance(reply.parts[CONTROL], expected, expected)
        scale = max(1.0, length(expected, expected) + length(common, common))
        if off > MAX_ERROR * scale:
            raise ReplyRefused(f"its control is {off:.4g} away from what its weights say, of length {scale:.4g}")

    def combine(self, replies: Mapping[int, Payload]) -> dict[str, Tensor]:
        changes = [reply.parts[CONTROL] for reply in replies.values()]
        mean = average(changes, [1.0] * len(changes))
        share = len(changes) / self.context.clients
        for name in parameter_names(self.context.model):
            self.control[name] = (self.control[name].double() + share * mean[name].double()).float()
        return average([reply.parts[MODEL] for reply in replies.values()], [1.0] * len(changes))

    def state(self) -> Mapping[str, Stateful]:
        return {**super().state(), "control": self.control}
