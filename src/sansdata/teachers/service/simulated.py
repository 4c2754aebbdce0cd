"""A network on this machine that answers as a service would: rounded inputs, rounded, few or no probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...decoding import pixels
from ...kinds.inputs.image import Normalise
from ...models.modes import fixed
from ...models.taps import call
from ...network import Network
from . import answers
from .meter import Meter
from .offer import Offer


class Simulated(nn.Module):
    """What a network takes (B, C, H, W) -> logits (B, K), as far as the offer lets them through; each is counted."""

    def __init__(self, network: Network, door: Normalise, offer: Offer, meter: Meter) -> None:
        super().__init__()
        self.model, self.read = network.module, network.outputs.read
        self.door, self.offer, self.meter = door, offer, meter

    @torch.no_grad()
    def forward(self, prepared: Tensor) -> Tensor:
        offer = self.offer
        for start in range(0, len(prepared), offer.batch):
            self.meter.spend(min(offer.batch, len(prepared) - start))
        if offer.levels is not None:
            prepared = self.door(pixels.unpack(pixels.pack(self.door.undo(prepared))).to(prepared.device))
        with fixed(self.model):
            return self._shown(self.read(call(self.model, prepared)).float())

    def _shown(self, logits: Tensor) -> Tensor:
        offer, classes = self.offer, logits.shape[1]
        if offer.answers == "logits":
            return logits
        if offer.answers == "labels":
            return answers.of_labels(logits.argmax(1), classes)
        shares = logits.double().softmax(1)
        if offer.answers == "top-k":
            values, places = shares.topk(min(offer.top, classes), dim=1)
            return answers.of_probabilities(answers.spread(places, self._rounded(values), classes), offer.decimals)
        return answers.of_probabilities(self._rounded(shares), offer.decimals)

    def _rounded(self, shares: Tensor) -> Tensor:
        return shares if self.offer.decimals is None else shares.round(decimals=self.offer.decimals)
