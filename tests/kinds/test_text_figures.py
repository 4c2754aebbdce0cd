"""How much texts differ, against plain counting."""

from __future__ import annotations

import math

import pytest

from sansdata.kinds.inputs.text_figures import distinct, self_bleu


def test_distinct_is_the_share_of_n_grams_that_are_not_repeated() -> None:
    texts = [[1, 2, 3], [1, 2, 4], [1]]
    assert distinct(texts, 1) == 4 / 7
    assert distinct(texts, 2) == 3 / 4
    assert distinct(texts, 5) == 1.0


def test_self_bleu_is_1_for_one_text_and_small_for_strangers() -> None:
    assert self_bleu([[1, 2, 3, 4, 5]] * 4) == pytest.approx(1.0)
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]) < 0.1
    assert self_bleu([[1, 2]]) == 0.0


def test_self_bleu_is_the_geometric_mean_of_clipped_precisions() -> None:
    texts = [[1, 1, 2, 3, 4], [1, 2, 3, 9, 9, 9]]
    first = [3 / 5, 2 / 4, 1 / 3, 0.1 / 2]  # 1 occurs once in the other; 12, 23; 123; none
    second = [3 / 6, 2 / 5, 1 / 4, 0.1 / 3]
    means = [math.exp(sum(map(math.log, one)) / 4) for one in (first, second)]
    assert self_bleu(texts) == pytest.approx((means[0] * math.exp(1 - 6 / 5) + means[1]) / 2)
