"""FedProx (Li et al. 2020): FedAvg whose clients are held near the model they were sent."""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from ..streams import Streams
from .algo import ClientAlgo, ClientContext, Memory
from .data import ClientData
from .fedavg import MODEL, FedAvg, FedAvgClient, FedAvgConfig
from .payload import Payload


class FedProxConfig(FedAvgConfig):
    """mu: of the term mu/2 |w - w_t|^2 (ours).

    Deviation: what FedFTG's code calls FedProx adds mu to the weight decay, which pulls towards 0 and not towards the
    model that was sent.
    """

    mu: float = pydantic.Field(default=1e-4, ge=0)


class FedProxClient(FedAvgClient):
    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.receive(payload, memory)
        anchors = [
            (value, payload.parts[MODEL][name].to(value.device))
            for name, value in self.context.model.named_parameters()
        ]

        def pull() -> None:
            """Adds the gradient of the proximal term."""
            for value, anchor in anchors:
                if value.grad is not None:
                    value.grad.add_(value.detach() - anchor, alpha=self.config.mu)

        self.train(payload, data, streams, correct=pull)
        return Payload({MODEL: self.give(memory)})


class FedProx(FedAvg):
    Config: ClassVar[type] = FedProxConfig

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedProxClient(config, context)
