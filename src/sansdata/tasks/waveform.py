"""The input side of a sound: samples of one channel, padded to one length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from .side import Side

MAX_SAMPLES = 8 * 1024 * 1024
"""Of one clip: three minutes at 44.1 kHz."""
DEFAULT_MELS = 40
"""Bands of the plain door of a sound."""
MAX_MELS = 512


class WaveformSpec(Side):
    """A sound of one channel. rate: samples a second. length: samples of a clip at most; a longer one is cut."""

    kind: Literal["waveform"] = "waveform"
    rate: int = pydantic.Field(default=16_000, ge=100, le=384_000)
    length: int = pydantic.Field(ge=64, le=MAX_SAMPLES)

    @property
    def window(self) -> int:
        """Samples of a frame of the plain door: 25 ms, as speech is mostly seen."""
        return min(max(16, round(0.025 * self.rate)), self.length // 2)

    @property
    def hop(self) -> int:
        """Samples between its frames: 10 ms."""
        return max(1, min(round(0.01 * self.rate), self.window))

    def frames(self, door: Mapping[str, Any]) -> int:
        """Of the longest clip, seen through the door that is described so."""
        hop = door.get("hop", self.hop)
        return self.length // hop + (door.get("scale") != "whisper")

    @property
    def seconds(self) -> float:
        """The longest clip."""
        return self.length / self.rate
