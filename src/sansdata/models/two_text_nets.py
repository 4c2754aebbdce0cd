"""Siamese classifiers of two texts, called as module(first=(B, L1) int64, first_mask=(B, L1) bool, second=(B, L2)
int64, second_mask=(B, L2) bool); they give logits (B, K).

One network reads both texts, into u and v; what they have to do with each other is seen in u, v, |u - v| and u * v
(InferSent, Conneau et al. 2017; the students of ZeroGen, Ye et al. 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .text_nets import masked_mean


def compared(one: Tensor, other: Tensor) -> Tensor:
    """(B, 4D): both (B, D), how far they are apart and where they agree."""
    return torch.cat([one, other, (one - other).abs(), one * other], 1)


class SiameseBag(nn.Module):
    """The mean embedding of each text, and one hidden layer over the comparison."""

    def __init__(self, vocabulary: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.hidden = nn.Linear(4 * width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> Tensor:
        one, other = masked_mean(self.embedding(first), first_mask), masked_mean(self.embedding(second), second_mask)
        return self.head(torch.relu(self.hidden(compared(one, other))))


class SiameseBiLSTM(nn.Module):
    """Two layers of an LSTM in both directions, the mean of their states, and a perceptron with dropout: ZeroGen's
    student of two sentences, narrower.

    Deviation: as in `text_nets.BiLSTM` a row is read to its padded end, with words of 0 there.
    """

    def __init__(self, vocabulary: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True, bidirectional=True)
        self.hidden, self.second_hidden = nn.Linear(8 * width, 2 * width), nn.Linear(2 * width, 2 * width)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> Tensor:
        states = compared(self._read(first, first_mask), self._read(second, second_mask))
        for layer in (self.hidden, self.second_hidden):
            states = self.dropout(torch.relu(layer(states)))
        return self.head(states)

    def _read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        embedded = self.embedding(tokens) * mask[..., None].to(self.embedding.weight.dtype)
        return masked_mean(self.lstm(embedded)[0], mask)
