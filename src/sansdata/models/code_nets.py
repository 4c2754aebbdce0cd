"""Classifiers of code as tokens, called as module(tokens=(B, L) int64, mask=(B, L) bool); they give logits (B, K).

A reconstruction of AF-STip's networks (Wang & Jiang 2024, arXiv 2412.11175), of which only the ingredients were read: a
bidirectional GRU whose states an adaptive fusion mixes out of an external memory and convolutions of several reaches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .text_nets import masked_mean

WORDS = 64
"""Width of the words of both networks at any scale: a student can then take over its teacher's."""
REACHES = (3, 5, 7)


class AdaptiveFusion(nn.Module):
    """(B, L, D) states to (B, L, D): queries that a gate of channels and one of places enhance, read from an external
    memory of S rows (external attention, Guo et al. 2021); beside them convolutions; a gate weighs both."""

    def __init__(self, width: int, memory: int = 64, gate: int = 16) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.channels = nn.Sequential(nn.Linear(width, gate), nn.ReLU(), nn.Linear(gate, width))
        self.places = nn.Conv1d(1, 1, 7, padding=3)
        self.keys = nn.Parameter(torch.randn(memory, width) / math.sqrt(width))
        self.values = nn.Parameter(torch.randn(memory, width) / math.sqrt(memory))
        part = max(1, width // len(REACHES))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, part, reach, padding=reach // 2), nn.BatchNorm1d(part), nn.ReLU())
            for reach in REACHES
        )
        self.join = nn.Conv1d(part * len(REACHES), width, 1)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states (B, L, D), mask (B, L) true where a token is."""
        query = self.query(states)
        by_channel = torch.sigmoid(self.channels(masked_mean(states, mask)))[:, None]
        by_place = torch.sigmoid(self.places(states.mean(2)[:, None])).transpose(1, 2)
        enhanced = query * by_channel + query * by_place
        scores = enhanced @ self.keys.T
        attention = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min).softmax(1)
        attention = attention / attention.sum(2, keepdim=True).clamp_min(1e-9)
        remembered = attention @ self.values
        turned = states.transpose(1, 2)
        local = self.join(torch.cat([stage(turned) for stage in self.stages], 1)).transpose(1, 2)
        gate = torch.sigmoid(self.gate(torch.cat([remembered, local], 2)))
        return gate * remembered + (1 - gate) * local + states


class GRU(nn.Module):
    """A GRU in both directions; the mean and the largest value of each state over the text, and one hidden layer.

    Deviation: as in `text_nets.BiLSTM` a row is read to its padded end, with words of 0 there.
    """

    def __init__(self, vocabulary: int, classes: int, width: int = 32, fused: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WORDS)
        self.gru = nn.GRU(WORDS, width, batch_first=True, bidirectional=True)
        self.fusion = AdaptiveFusion(2 * width) if fused else None
        self.hidden = nn.Linear(4 * width, 2 * width)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        words = self.embedding(tokens) * mask[..., None].to(self.embedding.weight.dtype)
        states, _ = self.gru(words)
        if self.fusion is not None:
            states = self.fusion(states, mask)
        lowest = torch.finfo(states.dtype).min
        largest = states.masked_fill(~mask[..., None], lowest).amax(1)
        pooled = torch.cat([masked_mean(states, mask), largest], 1)
        return self.head(self.dropout(torch.relu(self.hidden(pooled))))
