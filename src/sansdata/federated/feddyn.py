"""FedDyn (Acar et al. 2021): each client's loss is bent so that local and global optima agree.

Client k: L_k(w) - <g_k, w> + alpha/2 |w - w_t|^2, then g_k <- g_k - alpha (w_k - w_t).
Server: h <- h - alpha/N sum_k (w_k - w_t), then w = mean_k w_k - h / alpha (Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..contracts import Stateful
from ..memory import Slot
from ..streams import Streams
from .aggregate import average, parameter_names
from .algo import ClientAlgo, ClientContext, Memory, ServerContext
from .data import ClientData
from .fedavg import MODEL, FedAvg, FedAvgClient, FedAvgConfig
from .payload import Payload


class FedDynConfig(FedAvgConfig):
    """alpha: 0.01 in the paper's CIFAR experiments and in FedFTG's."""

    alpha: float = pydantic.Field(default=0.01, gt=0)


class FedDynClient(FedAvgClient):
    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.receive(payload, memory)
        model, alpha = self.context.model, self.config.alpha
        start = {name: payload.parts[MODEL][name].to(value.device) for name, value in model.named_parameters()}
        dual = {
            name: memory.get(f"dual/{name}", torch.zeros_like(value, device="cpu")).to(value.device)
            for name, value in model.named_parameters()
        }

        def bend() -> None:
            """Adds the gradient of the linear and the quadratic term."""
            for name, value in model.named_parameters():
                if value.grad is not None:
                    value.grad.add_(alpha * (value.detach() - start[name]) - dual[name])

        self.train(payload, data, streams, correct=bend)
        for name, value in model.named_parameters():
            memory[f"dual/{name}"] = (dual[name] - alpha * (value.detach() - start[name])).cpu()
        return Payload({MODEL: self.give(memory)})


class FedDyn(FedAvg):
    Config: ClassVar[type] = FedDynConfig

    def __init__(self, config: Any, context: ServerContext) -> None:
        super().__init__(config, context)
        self.drift = Slot(**{name: torch.zeros_like(p, device="cpu") for name, p in context.model.named_parameters()})
        """h, by parameter."""

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedDynClient(config, context)

    def combine(self, replies: Mapping[int, Payload]) -> dict[str, Tensor]:
        """h counts from the model that was sent, which under FedFTG is the fine-tuned one: that is where clients began.

        Buffers have no h; they are averaged.
        """
        models, alpha = [reply.parts[MODEL] for reply in replies.values()], self.config.alpha
        mean = average(models, [1.0] * len(models))
        for name in parameter_names(self.context.model):
            moved = len(models) * (mean[name].double() - self.sent[name].double()) / self.context.clients
            self.drift[name] = (self.drift[name].double() - alpha * moved).float()
            mean[name] = (mean[name].double() - self.drift[name].double() / alpha).to(mean[name].dtype)
        return mean

    def state(self) -> Mapping[str, Stateful]:
        return {**super().state(), "drift": self.drift}
