"""Small classifiers of texts: called as module(tokens=(B, L) int64, mask=(B, L) bool), they give logits (B, K)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """(B, D): the mean of states (B, L, D) over the positions where the mask (B, L) is true."""
    weight = mask[..., None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1)


class BagOfEmbeddings(nn.Module):
    """The mean embedding of the tokens through one hidden layer: order counts for nothing (fastText, Joulin et al.
    2017, with a hidden layer)."""

    def __init__(self, vocabulary: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head(torch.relu(self.hidden(masked_mean(self.embedding(tokens), mask))))


class BiLSTM(nn.Module):
    """An LSTM in both directions; the largest value of each state over the text (InferSent, Conneau et al. 2017).

    Deviation: a row is read to its padded end, and states behind the text do not count: a packed sequence, which would
    stop the backward direction at the text's own end, can be neither exported nor trained in bf16 on a CPU. The
    backward direction therefore begins on padding.
    """

    def __init__(self, vocabulary: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        embedded = self.embedding(tokens) * mask[..., None].to(self.embedding.weight.dtype)
        states, _ = self.lstm(embedded)
        lowest = torch.finfo(states.dtype).min
        return self.head(states.masked_fill(~mask[..., None], lowest).amax(1))


class Transformer(nn.Module):
    """Encoder blocks with pre-normalisation over learnt positions, then the mean of the states."""

    def __init__(
        self, vocabulary: int, length: int, classes: int, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) / math.sqrt(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states, mask)
        return self.head(masked_mean(self.norm(states), mask))


class Block(nn.Module):
    """Attention among the tokens of a text and a perceptron for each, both behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.parts, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states (B, L, D), mask (B, L)."""
        count, length, width = states.shape
        parts = self.parts(self.norm1(states)).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        states = states + self.out(attended.transpose(1, 2).reshape(count, length, width))
        return states + self.narrow(nn.functional.gelu(self.wide(self.norm2(states))))
