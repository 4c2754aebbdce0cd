"""The pitch of a sound from a network that says of each of many pitches whether it is there, as CREPE does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 20.0
"""Cents from one place to the next (Kim et al. 2018, section 2.1)."""
AROUND = 4
"""Places on either side of the likeliest whose mean is the pitch, weighted by their probabilities (as released)."""
NEAR = 50.0
"""Cents within which a pitch counts as right (Kim et al. 2018, section 3.2)."""


@dataclass(frozen=True)
class Pitches:
    """cents: (N,) above that of the first place. confidence: (N,) probability of the likeliest place."""

    cents: Tensor
    confidence: Tensor


def pitches(answers: Tensor) -> Pitches:
    """Of logits (N, K)."""
    chances = answers.double().sigmoid()
    confidence, best = chances.max(1)
    places = torch.arange(chances.shape[1], dtype=torch.float64)
    near = chances * ((places[None] - best[:, None]).abs() <= AROUND)
    return Pitches(STEP * (near * places).sum(1) / near.sum(1).clamp_min(1e-30), confidence)


def apart(one: Pitches, other: Pitches, voiced: float = 0.5) -> dict[str, float]:
    """How far two networks' pitches of the same sounds lie apart, where the other is `voiced` sure that there is one:
    'median' in cents, 'near' the share within NEAR, 'octaves' the share that is right but for whole octaves, 'voiced'
    the share of all sounds. The median is that of all distances, nan where there is none."""
    there = other.confidence >= voiced
    distance = (one.cents - other.cents).abs()[there]
    folded = (distance + 600) % 1200 - 600
    return {
        "median": float(distance.median()) if len(distance) else float("nan"),
        "near": float((distance <= NEAR).double().mean()), "octaves": float((folded.abs() <= NEAR).double().mean()),
        "voiced": float(there.double().mean()),
    }  # fmt: skip
