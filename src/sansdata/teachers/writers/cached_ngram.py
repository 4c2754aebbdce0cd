"""An n-gram model per class that reads a first text: the smallest writer of second texts there is.

The next word is with the class's own probability one of the first text (a cache, Kuhn & De Mori 1990), each place
alike, else that of the class's n-gram model. The first texts have an n-gram model too, so that they can be written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from ...errors import TeacherError
from .base import FIRST_TEXT, UNSTEERED, Decoding, Steering
from .ngram import END, START, NGrams

KIND = "cached-ngram"
ROUNDS = 20
"""Of expectation and maximisation, for one number a class."""
HELD_OUT = 5
"""One pair in so many says how often a word is one of the first text: on the others the n-grams know too much."""
UNKNOWN = -1
"""The id of a word that the n-grams do not know, but the first text may have."""


class CachedNGrams:
    """A writer that is asked 'CLASS', a line feed and the first text, or for a first text by FIRST_TEXT.

    ngrams: one model for each class, and behind them that of first texts. shares (K,): how often a word is one of the
    first text.
    """

    needs_prompts, reads_contexts, scores, debiases, words = False, True, True, False, "spaces"

    def __init__(self, ngrams: NGrams, shares: Tensor) -> None:
        """Raises TeacherError where the shares are none or the models those of something else."""
        self.ngrams, self.source, self.classes = ngrams, ngrams.source, ngrams.classes[:-1]
        if ngrams.classes[-1] != FIRST_TEXT or FIRST_TEXT in self.classes:
            raise TeacherError(f"{self.source}: the last of its models must be that of first texts")
        if shares.shape != (len(self.classes),) or not bool(((shares >= 0) & (shares < 1)).all()):
            raise TeacherError(f"{self.source}: needs a share from 0 to below 1 for each class")
        self.shares = {name: float(share) for name, share in zip(self.classes, shares)}

    @classmethod
    def fitted(cls, texts: Sequence[tuple[str, str, int]], classes: Sequence[str]) -> Self:
        """From (first text, second text, class)."""
        shares = _shares([row for at, row in enumerate(texts) if at % HELD_OUT],
                         [row for at, row in enumerate(texts) if at % HELD_OUT == 0], classes)  # fmt: skip
        return cls(_ngrams(texts, classes), shares)

    def tensors(self) -> dict[str, Tensor]:
        """What a file of it holds beside words and classes."""
        return {**self.ngrams.tensors(), "shares": torch.tensor(list(self.shares.values()))}

    @property
    def vocabulary(self) -> list[str]:
        return self.ngrams.vocabulary

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, Tensor], classes: Sequence[str], words: Sequence[str], source: str
    ) -> Self:
        ngrams = NGrams.of_tensors(tensors, [*classes, FIRST_TEXT], words, source)
        return cls(ngrams, tensors.get("shares", torch.zeros(0)))

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        draws = torch.rand(len(prompts), how.new_tokens, 3, generator=stream, dtype=torch.float64).tolist()
        return [self._text(prompt, row, how) for prompt, row in zip(prompts, draws)]

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        totals, counts = [], []
        for prompt, text in zip(prompts, texts):
            name, first = _parted(prompt)
            cache, share = Counter(first), self._share(name) if first else 0.0
            plain = self.ngrams.shares_of(name, text)
            cached = [cache[word] / max(1, len(first)) for word in text.split()] + [0.0]
            totals.append(float(np.log([(1 - share) * one + share * other for one, other in zip(plain, cached)]).sum()))
            counts.append(len(plain))
        return torch.tensor(totals), torch.tensor(counts)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.ngrams.fingerprint()} {sorted(self.shares.items())}".encode()).hexdigest()

    def _share(self, name: str) -> float:
        if name not in self.shares:
            raise TeacherError(f"{self.source}: writes {', '.join(self.classes)}, and was asked for '{name[:60]}'")
        return self.shares[name]

    def _text(self, prompt: str, draws: list[list[float]], how: Decoding) -> str:
        name, first = _parted(prompt)
        share, likely = (self._share(name), _likeliest(first, how)) if first else (0.0, [])
        chain, words = [START, START], []
        for order, word, cached in draws:
            if cached < share:
                words.append(likely[min(int(word * len(likely)), len(likely) - 1)])
                chain.append(self.ngrams.ids.get(words[-1], UNKNOWN))
                continue
            chosen = self.ngrams.follows(name, chain, order, word, how)
            if chosen == END and len(words) >= how.fewest:
                break
            if chosen != END:
                chain.append(chosen)
                words.append(self.ngrams.vocabulary[chosen - 2])
        return " ".join(words)


def _parted(prompt: str) -> tuple[str, list[str]]:
    """(the class or FIRST_TEXT, the words of the first text)."""
    name, _, first = prompt.partition("\n")
    return name, first.split()


def _likeliest(first: list[str], how: Decoding) -> list[str]:
    """The words of a first text, each as often as it stands there; with a top_k those of the commonest words alone.
    Deviation: a nucleus of places that are all alike is an arbitrary part of them, so top_p and the temperature do not
    apply."""
    if not how.top_k:
        return first
    kept = {word for word, _ in Counter(first).most_common(how.top_k)}
    return [word for word in first if word in kept]


def _ngrams(texts: Sequence[tuple[str, str, int]], classes: Sequence[str]) -> NGrams:
    seconds = [(second, label) for _, second, label in texts]
    firsts = [(first, len(classes)) for first in dict.fromkeys(first for first, _, _ in texts)]
    return NGrams.fitted(seconds + firsts, [*classes, FIRST_TEXT])


def _shares(
    known: Sequence[tuple[str, str, int]], held_out: Sequence[tuple[str, str, int]], classes: Sequence[str]
) -> Tensor:
    """(K,) float32: the likeliest share of each class on pairs that the n-grams do not know."""
    ngrams, shares = _ngrams(known, classes), []
    for label, name in enumerate(classes):
        plain: list[float] = []
        cached: list[float] = []
        for first, second, of in held_out:
            if of == label and first.split():
                words = Counter(first.split())
                plain += ngrams.shares_of(name, second)
                cached += [words[word] / words.total() for word in second.split()] + [0.0]
        share, own, other = 0.5, np.array(plain), np.array(cached)
        for _ in range(ROUNDS if plain else 0):
            share = float((share * other / (share * other + (1 - share) * own)).mean())
        shares.append(share if plain else 0.0)
    return torch.tensor(shares)
