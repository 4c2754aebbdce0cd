"""What a text counts as, where the writer's own judgement of it is asked: pure functions of scores."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 100


def balanced(scores: Tensor) -> Tensor:
    """scores (N, K) shifted by a number per class so that on the mean the softmax gives every class the same share.

    The texts were asked for in equal numbers, so a writer that calls most of them positive is biased, not informed: no
    label is needed to see it (the shift is that of label shift to even classes, Saerens et al. 2002)."""
    shifted = scores.double() - scores.double().mean(0)
    for _ in range(ROUNDS):
        shares = shifted.softmax(1).mean(0).clamp_min(1e-12)
        shifted = shifted - 0.5 * (shares * scores.shape[1]).log()
    return shifted.float()


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    """(N,): by how much the score (N, K) of the label (N,) is above the best of the others."""
    own = scores.gather(1, labels[:, None]).squeeze(1)
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    return own - others


def best_of_each(values: Tensor, labels: Tensor, share: float) -> Tensor:
    """Places of the highest `share` of values (N,) within every label, at least one each, in order."""
    kept = []
    for label in labels.unique():
        places = torch.nonzero(labels == label).squeeze(1)
        count = max(1, round(share * len(places)))
        kept.append(places[values[places].argsort(descending=True, stable=True)[:count]])
    return torch.cat(kept).sort().values


def reverse_cross_entropy(logits: Tensor, labels: Tensor, log_zero: float = -4.0) -> Tensor:
    """(N,): - sum_k softmax(logits)_k log q_k, where q is 1 at the label and log 0 is `log_zero` (Wang et al. 2019):
    bounded, so that a wrong label cannot dominate."""
    shares = logits.softmax(1)
    return -log_zero * (1 - shares.gather(1, labels[:, None]).squeeze(1))
