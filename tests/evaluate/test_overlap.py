"""Copies of real texts among written ones."""

from __future__ import annotations

from sansdata.evaluate.overlap import nearest


def test_the_nearest_real_text_counts_and_unknown_words_are_nobodys() -> None:
    real = [[1, 2, 3, 4, 5, 6, 7], [9, 9, 9, 9, 9, 9]]
    assert nearest([[1, 2, 3, 4, 5, 6, 7]], real) == [1.0]
    assert nearest([[1, 2, 3, 4, 5, 8, 8]], real) == [1 / 3]
    assert nearest([[7, 6, 5, 4, 3, 2, 1], [1, 2]], real) == [0.0, 0.0]
    assert nearest([[9, 9, 9, 9, 9, 9]], real) == [1.0]
    assert nearest([[9, 9, 9, 9, 9, 9]], real, unknown=9) == [0.0]
    assert nearest([[1, 2, 3, 4, 5, 9, 9, 9, 9, 9]], real) == [1 / 6]
