"""From latents to rows: which group each is decoded for, and which columns may not see it.

The decoder reads the group, so that what it writes knows it however fair the latents are: this rule decides more than
the penalty of the teacher's training does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ...errors import ConfigError, did_you_mean
from .base import AutoEncoder, LatentSource, drawn

RULES = {
    "own": "the group that the latent looks like, by what the encoder says of each group",
    "marginal": "a group as frequent as among real rows, whatever the latent",
    "balanced": "each group as often, whatever the latent",
    "neutral": "as marginal, but the class, and proxies that you name, are the mean over the groups by share",
    "fixed": "one group for all, fixed:GROUP",
}
"""Name -> which group a latent is decoded for."""
ALL = "all"
"""In the place of proxies: every column."""
LOOKED_AT = 20_000
"""Latents of the encoder by which 'own' tells the groups apart."""


@dataclass(frozen=True)
class Rule:
    """name: one of RULES. group: of 'fixed'. proxies: places of columns among the bins that 'neutral' averages beside
    the class."""

    name: str
    group: int = 0
    proxies: tuple[int, ...] = ()


@dataclass(frozen=True)
class Made:
    """Rows as they travel, the class (N,) and the group (N,) of each."""

    rows: dict[str, Tensor]
    labels: Tensor
    groups: Tensor


def rule_of(text: str, proxies: Sequence[str], model: LatentSource) -> Rule:
    """'marginal', 'neutral', 'fixed:Male' and so on. proxies: names of columns, or 'all'. Raises ConfigError."""
    name, _, group = text.partition(":")
    if name not in RULES:
        raise ConfigError(f"unknown rule '{text[:80]}' for the sensitive attribute. {did_you_mean(name, RULES)}")
    if bool(group) != (name == "fixed"):
        raise ConfigError("the rule 'fixed', and no other, names its group: fixed:GROUP")
    if proxies and name != "neutral":
        raise ConfigError(f"proxies belong to the rule 'neutral', not to '{name}'")
    names = model.names
    if group and group not in names:
        raise ConfigError(f"there is no group '{group[:80]}'. {did_you_mean(group, names)}")
    known = list(model.columns)
    if unknown := [one for one in proxies if one not in known and one != ALL]:
        raise ConfigError(f"there is no column '{unknown[0][:80]}' to be a proxy. {did_you_mean(unknown[0], known)}")
    places = range(len(known)) if ALL in proxies else [known.index(one) for one in proxies]
    return Rule(name, names.index(group) if group else 0, tuple(places))


def decoded(model: AutoEncoder, latents: Tensor, rule: Rule, stream: Generator) -> Made:
    """A row for each latent (N, Z)."""
    groups = groups_for(model, latents, rule, stream)
    shares = model.probabilities(latents, groups)
    if rule.name == "neutral":
        counted = len(model.names)
        of_groups = [
            model.probabilities(latents, torch.full((len(latents),), group)) for group in range(counted)
        ]  # fmt: skip
        for place in (*rule.proxies, len(shares) - 1):
            heads = torch.stack([several[place] for several in of_groups])
            shares[place] = (model.shares[:, None, None] * heads).sum(0)
    codes = drawn(shares, stream)
    rows, labels = model.bins.rows(codes, model.levels_in(groups, stream), stream)
    return Made(rows, labels, groups)


def groups_for(model: LatentSource, latents: Tensor, rule: Rule, stream: Generator) -> Tensor:
    """(N,) the group that each is decoded for."""
    count, groups = len(latents), len(model.names)
    if rule.name == "fixed":
        return torch.full((count,), rule.group)
    if rule.name == "balanced":
        return torch.randint(groups, (count,), generator=stream)
    if rule.name == "own":
        return torch.multinomial(likeness(model, latents, stream), 1, generator=stream).squeeze(1)
    return torch.multinomial(model.shares, count, replacement=True, generator=stream)


def likeness(model: LatentSource, latents: Tensor, stream: Generator) -> Tensor:
    """(N, G) the probability of each group of latents (N, Z), by a Gaussian for each group of those that the encoder
    gives to rows decoded from the prior. No real row is asked."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    seen, groups = model.cycled(LOOKED_AT, stream)
    judge: Any = QuadraticDiscriminantAnalysis(reg_param=1e-4).fit(seen.numpy(), groups.numpy())
    shares = torch.zeros(len(latents), len(model.names))
    shares[:, torch.from_numpy(judge.classes_)] = torch.from_numpy(judge.predict_proba(latents.numpy())).float()
    return shares
