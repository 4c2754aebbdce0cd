"""Which pseudo-labels are kept, by a score of which higher is worse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def below(score: Tensor, threshold: float) -> Tensor:
    """(K,) places of what a score with a natural unit lets through."""
    return (score <= threshold).nonzero().flatten()


def best_share(score: Tensor, share: float, groups: Tensor) -> Tensor:
    """(K,) places, in order, of the best `share` of each group (N,): a score that likes some classes or long sounds
    then drops none of them. Of all groups together as many are kept as of one, and of any that follow each other, to
    within one. Equal scores go to the earlier."""
    numbers, sizes = groups.unique(return_counts=True)
    upto = (share * sizes.cumsum(0).double() + 0.5).floor().long()
    counts = upto.diff(prepend=upto.new_zeros(1))
    kept = []
    for group, count in zip(numbers, counts.tolist()):
        places = (groups == group).nonzero().flatten()
        kept.append(places[torch.sort(score[places], stable=True).indices[:count]])
    return torch.cat(kept).sort().values


def groups_of(labels: Sequence[str], seconds: Tensor, by_text: bool, bins: int) -> Tensor:
    """(N,) numbers of groups: of one transcript where `by_text`, and of one of `bins` equally frequent durations, for
    confidence grows with length."""
    names = {text: number for number, text in enumerate(sorted(set(labels)))} if by_text else {}
    label = torch.tensor([names.get(text, 0) for text in labels])
    order = torch.empty(len(seconds), dtype=torch.int64)
    order[torch.sort(seconds, stable=True).indices] = torch.arange(len(seconds))
    return label * bins + order * bins // max(1, len(seconds))


def area(score: Tensor, wrong: Tensor) -> float | None:
    """How well a score ranks wrong (N,) bool above right: the area under its curve, ties count half; None where all are
    alike."""
    bad, good = score[wrong].double().sort().values, score[~wrong].double().sort().values
    if not len(bad) or not len(good):
        return None
    beneath = torch.searchsorted(good, bad) + torch.searchsorted(good, bad, right=True)
    return float(beneath.double().mean()) / 2 / len(good)
