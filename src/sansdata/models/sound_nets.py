"""Small classifiers of sounds: called as module(bands=(B, F, T), mask=(B, T) bool), they give logits (B, K)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .text_nets import masked_mean

CONTEXT = 2
"""Frames before its own that the convolution of MelGRU sees."""


class Memory(NamedTuple):
    """What MelGRU carries from one piece of a sound to the next. frames: (B, F, CONTEXT), the last ones. hidden:
    (1, B, D) of the GRU. total: (B, D) of its states over the frames that hold sound, of which there were count
    (B, 1)."""

    frames: Tensor
    hidden: Tensor
    total: Tensor
    count: Tensor


class MelCNN(nn.Module):
    """Three blocks of a 3x3 convolution, BatchNorm and pooling by two; the mean over the frames that hold sound, band
    by band, and a linear head."""

    def __init__(self, mels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise(widths)
        )
        for _ in self.blocks:
            mels = (mels + 1) // 2
        self.head = nn.Linear(widths[-1] * mels, classes)

    def forward(self, bands: Tensor, mask: Tensor) -> Tensor:
        states = bands[:, None]
        for block in self.blocks:
            states, mask = F.max_pool2d(block(states), 2, ceil_mode=True), mask[:, ::2]
        return self.head(masked_mean(states.flatten(1, 2).transpose(1, 2), mask))


class MelGRU(nn.Module):
    """A convolution that halves the frames, a GRU in one direction, the mean of its states over the frames that hold
    sound: what it says of a moment needs nothing of what comes after, so that it can follow a stream."""

    def __init__(self, mels: int, classes: int, width: int = 48) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(mels, width, 3, stride=2)
        self.norm = nn.BatchNorm1d(width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, bands: Tensor, mask: Tensor) -> Tensor:
        """`follow` from `blank` on, without a state as argument, of which torch.export cannot make any batch size."""
        maps = torch.relu(self.norm(self.convolution(F.pad(bands, (CONTEXT, 0)))))
        states, _ = self.gru(maps.transpose(1, 2))
        return self.head(masked_mean(states, mask[:, ::2]))

    def blank(self, count: int) -> Memory:
        """The state before the first frame of so many sounds."""
        like, width = self.convolution.weight, self.gru.hidden_size
        frames, states = like.new_zeros(count, self.convolution.in_channels, CONTEXT), like.new_zeros(count, width)
        return Memory(frames, states[None], states, states[:, :1])

    def follow(self, bands: Tensor, mask: Tensor, before: Memory) -> tuple[Tensor, Memory]:
        """Logits of all that was heard so far, and the state behind it. bands (B, F, T), mask (B, T): the frames that
        come next, an even number of them unless they are the last."""
        frames = torch.cat([before.frames, bands], 2)
        maps = torch.relu(self.norm(self.convolution(frames)))
        states, hidden = self.gru(maps.transpose(1, 2), before.hidden)
        weight = mask[:, ::2, None].to(states.dtype)
        total, count = before.total + (states * weight).sum(1), before.count + weight.sum(1)
        return self.head(total / count.clamp_min(1)), Memory(frames[:, :, -CONTEXT:], hidden, total, count)
