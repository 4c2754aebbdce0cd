"""The measures of samples, against plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch

from sansdata.reproduce.experiments.mechanism import mean_pairwise_cosine, spread_within, steps_to_known

FEATURES = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_mean_pairwise_cosine_is_that_over_all_pairs():
    pairs = [torch.cosine_similarity(a, b, dim=0).item() for a, b in itertools.combinations(FEATURES, 2)]
    assert mean_pairwise_cosine(FEATURES) == pytest.approx(sum(pairs) / len(pairs), rel=1e-10)


def test_spread_within_leaves_out_classes_of_one_and_does_not_see_lengths():
    classes = torch.tensor([0] * 5 + [1] * 6 + [2])
    unit = [row / row.norm() for row in FEATURES]
    variances = []
    for own in (unit[:5], unit[5:11]):
        centre = sum(own) / len(own)
        variances.append(sum(((row - centre) ** 2).sum().item() for row in own) / (len(own) - 1))
    assert spread_within(FEATURES, classes) == pytest.approx(sum(variances) / 2, rel=1e-10)
    assert spread_within(7 * FEATURES, classes) == pytest.approx(spread_within(FEATURES, classes), rel=1e-10)


def test_images_are_known_once_the_mean_of_ten_cross_entropies_is_below_a_half() -> None:
    curve = [(5 * (n + 1), 1.0 if n < 4 else 0.2) for n in range(20)]
    # Of ten values c are 1 and the others 0.2: below 0.5 from c = 3 on, which is after the eleventh.
    assert steps_to_known(curve) == 55
    assert steps_to_known([(n, 1.0) for n in range(30)]) == 29
    assert steps_to_known([(3, 0.1)]) == 3
