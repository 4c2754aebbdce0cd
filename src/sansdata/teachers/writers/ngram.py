"""An interpolated n-gram model per class: the smallest writer there is, of recipes and tests.

The probability of a word is .25, .35 and .40 times that of the unigram, bigram and trigram model; a draw chooses one of
the three by these weights, then a word of it. The nucleus is cut in the chosen model.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor

from ...errors import TeacherError
from .base import UNSTEERED, Decoding, Steering

WEIGHTS = (0.25, 0.35, 0.40)
SMOOTHING = 0.5
"""Added to the count of every word of the unigram model, and of one word that nobody saw."""
START, END = 0, 1
"""Ids before the words' own."""
KIND = "ngram"

Counts = dict[tuple[int, ...], dict[int, int]]


class NGrams:
    """A writer whose prompt is the name of a class. words: id - 2 -> word. trigrams: per class (N, 4) int64, rows of
    three ids and how often they stood so."""

    needs_prompts, reads_contexts, scores, debiases, words = False, False, True, False, "spaces"

    def __init__(self, classes: Sequence[str], words: Sequence[str], trigrams: Sequence[Tensor], source: str) -> None:
        """Raises TeacherError where ids or counts are none."""
        self.source, self.classes, self.vocabulary = source, tuple(classes), list(words)
        self.ids = {word: place + 2 for place, word in enumerate(words)}
        self._trigrams = [rows.long() for rows in trigrams]
        for rows in self._trigrams:
            if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows) or rows.min() < 0 or rows[:, 3].min() < 1:
                raise TeacherError(f"{source}: trigrams must be rows of three ids and a count")
            if int(rows[:, :3].max()) >= len(words) + 2:
                raise TeacherError(f"{source}: a trigram of a word that is not listed")
        self._models = {name: _models(rows) for name, rows in zip(self.classes, self._trigrams)}
        self._tables: dict[Any, tuple[list[int], list[float]]] = {}

    @classmethod
    def fitted(cls, texts: Sequence[tuple[str, int]], classes: Sequence[str]) -> Self:
        """From (text, class) pairs; words are what stands between spaces."""
        words = sorted({word for text, _ in texts for word in text.split()})
        ids = {word: place + 2 for place, word in enumerate(words)}
        rows: list[Tensor] = []
        for number in range(len(classes)):
            chains = [[START, START, *(ids[w] for w in text.split()), END] for text, label in texts if label == number]
            grams = np.array([chain[at : at + 3] for chain in chains for at in range(len(chain) - 2)])
            unique, counts = np.unique(grams, axis=0, return_counts=True)
            rows.append(torch.from_numpy(np.hstack([unique, counts[:, None]])))
        return cls(classes, words, rows, "fitted in Python")

    def tensors(self) -> dict[str, Tensor]:
        """What a file of it holds beside words and classes."""
        return {f"trigrams.{place}": rows.to(torch.int32) for place, rows in enumerate(self._trigrams)}

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, Tensor], classes: Sequence[str], words: Sequence[str], source: str
    ) -> Self:
        rows = [tensors.get(f"trigrams.{place}", torch.zeros(0, 4)) for place in range(len(classes))]
        return cls(classes, words, rows, source)

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        draws = torch.rand(len(prompts), how.new_tokens, 2, generator=stream, dtype=torch.float64).tolist()
        return [self._text(prompt, row, how) for prompt, row in zip(prompts, draws)]

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        totals, counts = [], []
        for prompt, text in zip(prompts, texts):
            shares = self.shares_of(prompt, text)
            totals.append(float(np.log(shares).sum()))
            counts.append(len(shares))
        return torch.tensor(totals), torch.tensor(counts)

    def shares_of(self, name: str, text: str) -> list[float]:
        """The probability of each word of a text of this class, and of its end."""
        model = self._model(name)
        chain = [START, START, *(self.ids.get(word, -1) for word in text.split()), END]
        return [self._share(model, tuple(chain[at - 2 : at]), chain[at]) for at in range(2, len(chain))]

    def follows(self, name: str, chain: Sequence[int], order: float, word: float, how: Decoding) -> int:
        """The id behind a chain of ids, by two numbers in 0..1: which model is asked, and which of its words."""
        model = self._model(name)
        model_of = 2 if order >= WEIGHTS[0] + WEIGHTS[1] else 1 if order >= WEIGHTS[0] else 0
        history = tuple(chain[len(chain) - model_of :])
        while history not in model:  # a pair that never stood so has no trigram
            history = history[1:]
        ids, sums = self._table(model, (name, history), how)
        return ids[min(bisect.bisect_right(sums, word * sums[-1]), len(ids) - 1)]

    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join((*self.classes, *self.vocabulary)).encode())
        for rows in self._trigrams:
            digest.update(rows.numpy().tobytes())
        return digest.hexdigest()

    # -- one text

    def _model(self, prompt: str) -> Counts:
        if prompt not in self._models:
            raise TeacherError(f"{self.source}: writes {', '.join(self.classes)}, and was asked for '{prompt[:60]}'")
        return self._models[prompt]

    def _text(self, name: str, draws: list[list[float]], how: Decoding) -> str:
        return self._behind(name, [], draws, how)

    def _behind(self, name: str, beginning: list[int], draws: list[list[float]], how: Decoding) -> str:
        """What follows these ids of words, without them."""
        chain, words = [START, START, *beginning], list[str]()
        for order, word in draws:
            chosen = self.follows(name, chain, order, word, how)
            if chosen == END:
                if len(words) >= how.fewest:
                    break
                continue
            chain.append(chosen)
            words.append(self.vocabulary[chosen - 2])
        return " ".join(words)

    def _table(self, model: Counts, place: tuple[str, tuple[int, ...]], how: Decoding) -> tuple[list[int], list[float]]:
        """Ids that may follow, most likely first, and the running sums of their shares."""
        key = (place, how.top_p, how.top_k, how.temperature)
        if key not in self._tables:
            counted = sorted(model[place[1]].items(), key=lambda entry: (-entry[1], entry[0]))
            weights = np.array([count for _, count in counted], dtype=np.float64)
            shares = (weights / weights.max()) ** (1 / how.temperature)
            if how.top_k:
                shares[how.top_k :] = 0
            sums = np.cumsum(shares / shares.sum())
            kept = int(np.searchsorted(sums, how.top_p - 1e-12)) + 1
            self._tables[key] = [one for one, _ in counted[:kept]], sums[:kept].tolist()
        return self._tables[key]

    def _share(self, model: Counts, history: tuple[int, ...], word: int) -> float:
        total = 0.0
        for length, weight in enumerate(WEIGHTS):
            follows = model.get(history[2 - length :], {})
            known = sum(follows.values()) if length else 0
            if length == 0:
                follows = model[()]
                spread = SMOOTHING * (len(self.vocabulary) + 2)
                total += weight * (follows.get(word, 0) + SMOOTHING) / (_total(model) + spread)
            elif known:
                total += weight * follows.get(word, 0) / known
        return total


def _total(model: Counts) -> int:
    return model[(-1,)][0]


def _models(rows: Tensor) -> Counts:
    """History of 0, 1 or 2 ids -> id -> count; under (-1,) how many tokens there were."""
    model: Counts = {(): {}}
    for first, second, third, count in rows.tolist():
        for history in ((), (second,), (first, second)):
            follows = model.setdefault(history, {})
            follows[third] = follows.get(third, 0) + count
    model[(-1,)] = {0: sum(model[()].values())}
    return model
