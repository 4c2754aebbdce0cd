"""What the student learns of the texts that were written: which of them, as what, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...memory import Pool
from .labels import balanced, best_of_each, margins
from .reading import Reading
from .settings import ZeroGenConfig


@dataclass(frozen=True)
class Lesson:
    """places: in the pool, (N,). targets (N, K) float32, each sums to 1. weights (N,)."""

    places: Tensor
    targets: Tensor
    weights: Tensor

    def at(self, places: Tensor) -> Lesson:
        """Of some of all texts only."""
        return Lesson(places, self.targets[places], self.weights[places])


def lesson_of(pool: Pool, reading: Reading, weights: Tensor, config: ZeroGenConfig, seed: int) -> Lesson:
    """A function of what is in the pool, weights (N,) of it and the settings. seed: of shuffled labels."""
    packed = pool.packed()
    assert packed is not None
    assert pool.targets is not None
    count, labels = len(pool), pool.targets[: len(pool)]
    if config.shuffled:
        labels = labels[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    places = torch.arange(count)
    if pool.logits is None:
        classes = int(labels.max()) + 1
        return Lesson(places, F.one_hot(labels, classes).float(), weights)
    raw = pool.logits[:count]
    scores = balanced(raw)
    plain = Lesson(places, F.one_hot(labels, raw.shape[1]).float(), weights)
    match config.scores:
        case "relabel":
            return Lesson(places, F.one_hot(scores.argmax(1), raw.shape[1]).float(), weights)
        case "soft":
            return Lesson(places, scores.softmax(1), weights)
        case "weight":
            return Lesson(places, plain.targets, weights * _of(scores.softmax(1), labels))
        case "filter":
            return plain.at(best_of_each(margins(scores, labels), labels, config.keep))
        case "likely":  # the mean log-probability of a text under its own prompt, as in SuperGen
            # Deviation: a mean over the tokens that the student reads; of the writer's only the sums are kept.
            return plain.at(best_of_each(_of(raw, labels) / reading.lengths(packed), labels, config.keep))
    return plain


def _of(values: Tensor, labels: Tensor) -> Tensor:
    """(N,): of each row of values (N, K) that of its label."""
    return values.gather(1, labels[:, None]).squeeze(1)
