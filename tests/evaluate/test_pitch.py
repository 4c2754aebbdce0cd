"""Pitch from the probabilities of many, and how far two networks lie apart."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.evaluate.pitch import Pitches, apart, pitches


def test_a_pitch_is_the_mean_of_the_places_around_the_likeliest() -> None:
    chances = torch.full((2, 40), 1e-9, dtype=torch.float64)
    chances[0, 10:13] = torch.tensor([0.2, 0.8, 0.4])
    chances[0, 30] = 0.79  # too far away to count
    chances[1, 0] = 0.9
    figures = pitches(chances.logit())
    assert figures.cents.tolist() == pytest.approx([20 * (10 * 0.2 + 11 * 0.8 + 12 * 0.4) / 1.4, 0], abs=1e-4)
    assert figures.confidence.tolist() == pytest.approx([0.8, 0.9])


def test_distances_count_where_the_other_is_sure() -> None:
    sure = torch.tensor([0.9, 0.8, 0.6, 0.1])
    other = Pitches(torch.tensor([1000.0, 2000, 3000, 4000]), sure)
    own = Pitches(torch.tensor([1010.0, 3230, 3100, 0]), sure)
    figures = apart(own, other)
    assert figures == {"median": 100.0, "near": pytest.approx(1 / 3), "octaves": pytest.approx(2 / 3), "voiced": 0.75}
    assert math.isnan(apart(own, other, voiced=1.0)["median"])
