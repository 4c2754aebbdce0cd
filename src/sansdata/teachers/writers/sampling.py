"""The next token out of its logits: temperature, top-k, nucleus, self-debiasing. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Debias, Decoding

HEAD = 1024
"""Of a large vocabulary so many tokens are sorted first; all of them only where these are not enough."""


def debiased(logits: Tensor, others: Tensor, debias: Debias) -> Tensor:
    """logits (B, V) weighed down where a token is more likely by others (C, B, V), the logits under other prompts.

    Deviation: the released normaliser is right for one row at a time only; here nothing is normalised before the
    softmax that follows.
    """
    excess = (others.softmax(2).amax(0) - logits.softmax(1)).clamp_min(0)
    return logits + (-debias.decay * excess).exp().clamp_min(debias.floor).log()


def candidates(logits: Tensor, how: Decoding) -> tuple[Tensor, Tensor]:
    """(ids (B, M), shares (B, M) float64 that sum to 1) of the tokens that may be next, most likely first.

    The nucleus is the shortest beginning of that order with a sum of at least top_p; one token is always left.
    """
    shares = (logits.float() / how.temperature).softmax(1)
    size = shares.shape[1]
    most = min(size, how.top_k or size)
    head = min(most, HEAD) if how.top_p < 1 else most
    values, ids = shares.topk(head, dim=1)
    if head < most and bool((values.double().sum(1) < how.top_p * _mass(shares, most)).any()):
        values, ids = shares.topk(most, dim=1)
    values = values.double() / _mass(shares, most)[:, None]
    outside = values.cumsum(1) - values >= how.top_p
    values = values.masked_fill(outside, 0)
    return ids, values / values.sum(1, keepdim=True)


def _mass(shares: Tensor, most: int) -> Tensor:
    """(B,) float64: the sum of the `most` largest."""
    if most == shares.shape[1]:
        return shares.double().sum(1)
    return shares.topk(most, dim=1).values.double().sum(1)


def drawn(logits: Tensor, how: Decoding, uniforms: Tensor) -> Tensor:
    """(B,) ids, decided by uniforms (B,) in 0..1."""
    ids, shares = candidates(logits, how)
    sums = shares.cumsum(1)
    places = torch.searchsorted(sums, (uniforms.to(sums) * sums[:, -1])[:, None], right=True)
    places = torch.minimum(places, (shares > 0).sum(1, keepdim=True) - 1)
    return ids.gather(1, places).squeeze(1)
