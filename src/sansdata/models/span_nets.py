"""Readers that point to the part of a first text that answers a second one, called as module(first=(B, L1) int64,
first_mask=(B, L1) bool, second=(B, L2) int64, second_mask=(B, L2) bool); they give logits (B, L1, 2) of the places
where the answer begins and ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .text_nets import masked_mean

OUT = -1e4
"""The logit of a place without a token: finite in half precision too."""
DILATIONS = (1, 2, 4, 8)


class SpanReader(nn.Module):
    """After the reader of DrQA (Chen et al. 2017) with convolutions in the place of its LSTMs (Wu et al. 2017,
    arXiv 1711.04352), small: each token of the first text is seen with the words of the question that are nearest to it
    and with whether it stands there itself; a bilinear form of what is around it and of the question gives both places.

    Deviation: ZeroGen's student is a BiDAF, whose LSTMs cost ten times as much on a CPU.
    """

    def __init__(self, vocabulary: int, width: int = 48) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.nearest = nn.Linear(width, width)
        self.join = nn.Linear(3 * width + 1, width)
        self.context = nn.ModuleList(Around(width, dilation) for dilation in DILATIONS)
        self.question = nn.ModuleList(Around(width, dilation) for dilation in DILATIONS[:2])
        self.dropout = nn.Dropout(0.1)
        self.places = nn.Linear(width, 2 * width)
        self.plain = nn.Linear(width, 2)

    def forward(self, first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> Tensor:
        words, question = (self.dropout(self.embedding(ids)) for ids in (first, second))
        question = question * second_mask[..., None].to(question.dtype)
        alike = torch.relu(self.nearest(words)) @ torch.relu(self.nearest(question)).transpose(1, 2)
        near = alike.masked_fill(~second_mask[:, None], OUT).softmax(2) @ question
        stands = ((first[:, :, None] == second[:, None]) & second_mask[:, None]).any(2)
        states = self.join(torch.cat([words, near, words * near, stands[..., None].to(words.dtype)], 2))
        for block in self.context:
            states = block(states, first_mask)
        for block in self.question:
            question = block(question, second_mask)
        queries = self.places(masked_mean(question, second_mask)).unflatten(1, (2, -1))
        logits = states @ queries.transpose(1, 2) / states.shape[2] ** 0.5 + self.plain(states)
        return logits.masked_fill(~first_mask[..., None], OUT)


class Around(nn.Module):
    """What a token is among its neighbours: a gated convolution of three places so far apart, beside a shortcut."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states (B, L, D), mask (B, L)."""
        maps = self.norm(states) * mask[..., None].to(states.dtype)
        value, gate = self.convolution(maps.transpose(1, 2)).transpose(1, 2).chunk(2, 2)
        return states + self.dropout(value * torch.sigmoid(gate))
