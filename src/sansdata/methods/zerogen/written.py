"""What was written so far, and what was not kept: none of it twice, word for word or nearly (MinHash over triples of
words, Broder 1997, in bands)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

PERMUTATIONS, BANDS = 64, 16
"""Of 4 rows a band: two texts that share half of their triples meet in a band with a chance of 64 %, such as share 90 %
always."""
PRIME = (1 << 61) - 1
_RANDOM = np.random.default_rng(20_221)
_FACTORS = [int(one) for one in _RANDOM.integers(1, PRIME, PERMUTATIONS)]
_SHIFTS = [int(one) for one in _RANDOM.integers(0, PRIME, PERMUTATIONS)]
_A, _B = np.array(_FACTORS, dtype=np.uint64) | np.uint64(1), np.array(_SHIFTS, dtype=np.uint64)


class Written:
    """Texts with their class and context, in the order in which they were kept; none of them twice."""

    def __init__(self, classes: int, near: float) -> None:
        self.near = near
        self.texts: list[str] = []
        self.labels: list[int] = []
        self.contexts: list[str] = []
        self.drawn = 0
        """Continuations that were asked for."""
        self.refused: dict[str, int] = {}
        """Reason -> how many continuations were not kept."""
        self._known = Duplicates(near)
        self._counts = [0] * classes

    def __len__(self) -> int:
        return len(self.texts)

    def of_class(self, label: int) -> int:
        return self._counts[label]

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def keep(self, text: str, label: int, context: str) -> bool:
        """False, and it is counted as refused, where the text was there before."""
        if reason := self._known.take(text):
            self.refuse(reason)
            return False
        self._add(text, label, context)
        return True

    def _add(self, text: str, label: int, context: str) -> None:
        self.texts.append(text)
        self.labels.append(label)
        self.contexts.append(context)
        self._counts[label] += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "texts": list(self.texts), "labels": list(self.labels), "contexts": list(self.contexts),
            "drawn": self.drawn, "refused": dict(self.refused),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.__init__(len(self._counts), self.near)
        for text, label, context in zip(state["texts"], state["labels"], state["contexts"]):
            self._known.take(text)
            self._add(text, label, context)
        self.drawn, self.refused = state["drawn"], dict(state["refused"])


class Duplicates:
    """The texts so far. near: share of triples in common (Jaccard) from which two texts are one; 1 is word for word."""

    def __init__(self, near: float) -> None:
        self.near = near
        self._exact: set[str] = set()
        self._triples: list[frozenset[int]] = []
        self._bands: dict[tuple[int, bytes], list[int]] = {}

    def take(self, text: str) -> str:
        """'' for a new text, which is remembered; 'same' or 'near' for one that was there."""
        plain = " ".join(text.lower().split())
        if plain in self._exact:
            return "same"
        triples = _triples(plain)
        keys = _band_keys(triples) if self.near < 1 else []
        for key in keys:
            if any(_alike(triples, self._triples[other]) >= self.near for other in self._bands.get(key, ())):
                return "near"
        self._exact.add(plain)
        for key in keys:
            self._bands.setdefault(key, []).append(len(self._triples))
        self._triples.append(triples)
        return ""


def _triples(text: str) -> frozenset[int]:
    """Numbers of three words in a row; of the whole text where it has fewer."""
    words = text.split()
    runs = [" ".join(words[at : at + 3]) for at in range(len(words) - 2)] or [text]
    return frozenset(zlib.crc32(run.encode()) for run in runs)


def _alike(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)


def _band_keys(triples: frozenset[int]) -> list[tuple[int, bytes]]:
    """The least number under each permutation (multiply and shift, modulo 2^64), some rows of them to a band."""
    numbers = np.fromiter(triples, dtype=np.uint64, count=len(triples))
    least = (numbers[:, None] * _A + _B).min(0)
    return [(band, rows.tobytes()) for band, rows in enumerate(least.reshape(BANDS, -1))]
