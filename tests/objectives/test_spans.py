"""Parts of a text: the likeliest by trying all, and SQuAD's comparison of words on cases worked out by hand."""

from __future__ import annotations

import pytest
import torch

from sansdata.objectives.spans import best_spans, counted_words, f1, normalised


@pytest.mark.parametrize("longest", [1, 3, 9])
def test_the_best_part_is_that_of_trying_all(longest: int) -> None:
    logits = torch.randn(20, 9, 2, generator=torch.Generator().manual_seed(0))
    for row, (first, last) in zip(logits.double(), best_spans(logits, longest).tolist()):
        tried = {
            (i, j): float(row[i, 0] + row[j, 1]) for i in range(9) for j in range(i, min(9, i + longest))
        }  # fmt: skip
        assert (first, last) == max(tried, key=lambda place: tried[place])


def test_words_count_as_in_squad() -> None:
    assert normalised("The U.S. Army, an army") == ["us", "army", "army"]
    assert f1([1, 2, 3], [2, 3, 3]) == pytest.approx(2 / 3)
    assert f1([], []) == 1
    assert f1([1], []) == 0


def test_a_word_counts_where_its_first_letter_is_and_equal_words_alike() -> None:
    text = 'The "Cat" saw a cat-like cat.'
    places = [(0, 3), (4, 5), (5, 7), (7, 8), (8, 9), (10, 13), (14, 15), (16, 19), (19, 24), (25, 28), (28, 29)]
    assert counted_words(text, places) == [0, 0, 1, 0, 0, 2, 0, 3, 0, 1, 0]
