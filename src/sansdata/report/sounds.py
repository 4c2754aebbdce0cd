"""Sounds that a page plays, within a budget of bytes."""

from __future__ import annotations

import base64

import numpy as np

from ..decoding.wav import wav_bytes

MAX_SECONDS = 5.0
MOST_RATE = 16_000


def sound_uri(samples: np.ndarray, rate: int) -> str:
    """int16 (L,) as a WAV file in a data URI: its first seconds, at MOST_RATE or less."""
    every = max(1, round(rate / MOST_RATE))
    part = samples[: int(MAX_SECONDS * rate)]
    if every > 1:
        part = part[: len(part) // every * every].reshape(-1, every).mean(1).astype(np.int16)
    content = wav_bytes(part, rate // every)
    return f"data:audio/wav;base64,{base64.b64encode(content).decode('ascii')}"
