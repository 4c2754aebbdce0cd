"""What a teacher heard in a pool of sounds: the table that every score reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kinds.inputs.log_mel import LogMel
from ...kinds.inputs.waveform import LEVELS

BANDS, MOMENTS, CEPSTRA, EVERY = 32, 8, 13, 4
CHUNK = 256


@dataclass(frozen=True)
class Heard:
    """Of N sounds. waveform int16 (N, L), length (N,), rate: of the sounds. spoken: the text that was to be said, ''
    where nobody knows. said: the teacher's transcript. surprise, doubt: (N,) mean -log p of its tokens, and mean
    entropy of its choices. second: another recogniser's transcripts, where there is one."""

    waveform: Tensor
    length: Tensor
    rate: int
    spoken: Sequence[str]
    said: Sequence[str]
    surprise: Tensor
    doubt: Tensor
    second: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.said)

    @cached_property
    def seconds(self) -> Tensor:
        """(N,)."""
        return self.length.float().clamp_min(1) / self.rate

    @cached_property
    def shapes(self) -> Tensor:
        """(N, BANDS * MOMENTS) the course of each sound's bands, however long it is, brought to length 1."""
        return spectral_shapes(self.waveform, self.length, self.rate)

    @property
    def door(self) -> LogMel:
        return LogMel.of(self.rate, self.waveform.shape[1], BANDS)


def spectral_shapes(waveform: Tensor, length: Tensor, rate: int) -> Tensor:
    """(N, BANDS * MOMENTS) of sounds int16 (N, L)."""
    door = LogMel.of(rate, waveform.shape[1], BANDS)
    rows = []
    for sounds, many in zip(waveform.split(CHUNK), length.split(CHUNK)):
        inputs = {"waveform": sounds.float() / LEVELS, "length": many}
        columns = door(inputs)
        assert not isinstance(columns, Tensor)
        for bands, mask in zip(columns["bands"], columns["mask"]):
            rows.append(F.adaptive_avg_pool1d(bands[None, :, : max(1, int(mask.sum()))], MOMENTS).flatten())
    return F.normalize(torch.stack(rows), dim=1)


def cepstra(waveform: Tensor, length: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """((N, T, CEPSTRA) of every fourth frame, (N,) how many of them hold sound), of sounds int16 (N, L)."""
    door = LogMel.of(rate, waveform.shape[1], BANDS)
    columns = door({"waveform": waveform.float() / LEVELS, "length": length})
    assert not isinstance(columns, Tensor)
    angles = torch.pi * torch.arange(1, CEPSTRA + 1)[:, None] * (torch.arange(BANDS) + 0.5) / BANDS
    turned = torch.einsum("cb,nbt->ntc", angles.cos(), columns["bands"]) * (2 / BANDS) ** 0.5
    return turned[:, ::EVERY], columns["mask"][:, ::EVERY].sum(1).clamp_min(1)
