"""Texts of the user's own domain: phrases of it steer what is written.

A writer that reads is shown some of the phrases before each prompt. Of one that does not, more is drawn than is kept:
the texts that are nearest to the phrases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Generator

from ...tasks import Prompts
from ...teachers.writers.vocabulary import pieces


def shown_before(phrases: Sequence[str], prompts: Prompts, count: int, shots: int, stream: Generator) -> list[str]:
    """For each of `count` prompts `shots` phrases drawn at random, as examples that stand before it."""
    if not phrases:
        return []
    places = torch.randint(len(phrases), (count, shots), generator=stream).tolist()
    return ["".join(prompts.shown(phrases[int(place)]) for place in row) for row in places]


def nearness(texts: Sequence[str], phrases: Sequence[str], words: str) -> list[float]:
    """Of each text 0..1: how much of it stands in the phrases too, each word weighed by its rarity among the texts."""
    parted = [set(pieces(text, words)) for text in texts]
    known = {word for phrase in phrases for word in pieces(phrase, words)}
    counts = Counter(word for text in parted for word in text)
    rarity = {word: math.log(1 + len(texts) / count) for word, count in counts.items()}
    totals = [sum(rarity[word] for word in sorted(text)) for text in parted]
    ours = [sum(rarity[word] for word in sorted(text & known)) for text in parted]
    return [own / total if total else 0.0 for own, total in zip(ours, totals)]
