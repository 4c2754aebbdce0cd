"""How much texts differ among each other: distinct n-grams (Li et al. 2016) and self-BLEU (Zhu et al. 2018)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

COMPARED = 200
"""Texts that self-BLEU looks at: its cost is that of all pairs."""


def distinct(texts: Sequence[Sequence[int]], order: int) -> float:
    """Share of the n-grams of all texts that are not repeated, 0..1; 1 where there is none."""
    grams = [tuple(text[at : at + order]) for text in texts for at in range(len(text) - order + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def self_bleu(texts: Sequence[Sequence[int]], order: int = 4) -> float:
    """Mean BLEU of each of the first texts against all others of these, 0..1: 1 is the same text again and again.

    Precisions of 1 to `order` tokens with equal weights, a count of 0 smoothed to 0.1, and the usual penalty for what
    is shorter than the nearest reference.
    """
    texts = [text for text in texts if len(text) >= order][:COMPARED]
    if len(texts) < 2:
        return 0.0
    counted = [[_grams(text, size) for text in texts] for size in range(1, order + 1)]
    return sum(_bleu(number, texts, counted) for number in range(len(texts))) / len(texts)


def _bleu(number: int, texts: Sequence[Sequence[int]], counted: Sequence[Sequence[Counter]]) -> float:
    total = 0.0
    for grams in counted:
        own = grams[number]
        matched = 0
        for gram, count in own.items():
            most = max(
                (other[gram] for place, other in enumerate(grams) if place != number and gram in other), default=0
            )
            matched += min(count, most)
        total += math.log(max(matched, 0.1) / sum(own.values()))
    length = len(texts[number])
    nearest = min(
        (len(text) for place, text in enumerate(texts) if place != number), key=lambda n: (abs(n - length), n)
    )
    return math.exp(total / len(counted) + min(0.0, 1 - nearest / length))


def _grams(text: Sequence[int], size: int) -> Counter:
    return Counter(tuple(text[at : at + size]) for at in range(len(text) - size + 1))
