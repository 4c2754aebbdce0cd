"""Masked language models: what could stand in the gaps of a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .text_nets import Block


class MaskedWriter(nn.Module):
    """A small encoder whose words are also its answers; id V stands for a gap.

    tokens (B, L) int64 up to V, mask (B, L) bool -> logits (B, L, V) of what stands at each place.
    """

    def __init__(self, vocabulary: int, length: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.gap = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, width)
        self.positions = nn.Parameter(torch.randn(length, width) / math.sqrt(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.bias = nn.LayerNorm(width), nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(width))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states, mask)
        return self.norm(states) @ self.embedding.weight[:-1].T + self.bias


class LibraryWriter(nn.Module):
    """A masked language model of the library `transformers`, called as a MaskedWriter is. gap: the id of its gaps."""

    def __init__(self, module: nn.Module, gap: int) -> None:
        super().__init__()
        self.module, self.gap = module, gap

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.module(input_ids=tokens, attention_mask=mask.long()).logits
