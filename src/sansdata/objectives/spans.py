"""Answers that are parts of a text: which part is likeliest, and how like the right one it is."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

NORMALISER = "small letters, without signs and articles, as for SQuAD"
_ARTICLES = frozenset({"a", "an", "the"})
_SIGNS = frozenset(string.punctuation)


def best_spans(logits: Tensor, longest: int) -> Tensor:
    """(B, 2) int64: the first and the last place of the likeliest part of at most `longest` places, by logits (B, L, 2)
    of both."""
    starts, ends = logits.float().unbind(2)
    behind = torch.nn.functional.pad(ends, (0, longest - 1), value=-torch.inf).unfold(1, longest, 1)
    places = (starts[:, :, None] + behind).flatten(1).argmax(1)
    first = places // longest
    return torch.stack([first, first + places % longest], 1)


def normalised(text: str) -> list[str]:
    """The words of an answer that count, as SQuAD's evaluation has them (Rajpurkar et al. 2016)."""
    plain = "".join(sign for sign in text.lower() if sign not in _SIGNS)
    return [word for word in plain.split() if word not in _ARTICLES]


def f1(one: Sequence[int], other: Sequence[int]) -> float:
    """The harmonic mean of precision and recall of two bags of words; of two empty ones 1."""
    if not one or not other:
        return float(not one and not other)
    shared = (Counter(one) & Counter(other)).total()
    return 2 * shared / (len(one) + len(other))


def counted_words(text: str, places: Sequence[tuple[int, int]]) -> list[int]:
    """For each token, by where it begins and ends in `text`, the number of the word that begins in it, equal words
    alike once they are normalised; 0 where none does, or one that does not count."""
    numbers: dict[str, int] = {}
    words = []
    for part in re.finditer(r"\S+", text):
        word = normalised(part.group())
        first = next((at for at, sign in enumerate(part.group()) if sign not in _SIGNS), None)
        if word and first is not None:
            words.append((part.start() + first, numbers.setdefault(word[0], len(numbers) + 1)))
    counted = []
    for start, end in places:
        counted.append(next((number for at, number in words if start <= at < end), 0))
    return counted
