"""What a recipe expects of its figures, judged on pairs of the same seed and processor against their standard error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

from .recipes.model import Expectation, Recipe

Verdict = Literal["holds", "fails", "undecided"]
Seed = tuple[int, str]
"""A seed and its bed: the processor, and the teacher where an experiment trained one for itself. Two processors do not
round alike, and two teachers are not equally good, so that their runs of one seed are no pair."""
BySeed = Mapping[str, Mapping[str, Mapping[Seed, float]]]
"""arm -> measure -> seed -> value; 'accuracy' is in percent."""


@dataclass(frozen=True)
class Judgement:
    """One expectation as a sentence, what was measured for it with its standard error and seeds, and the verdict."""

    sentence: str
    measured: str
    verdict: Verdict


def judgements(recipe: Recipe, values: BySeed) -> Iterator[tuple[Expectation, Judgement]]:
    """Each expectation of a recipe whose arms have at least one seed in common."""
    for one in recipe.expected:
        better = values.get(one.better, {}).get(one.measure, {})
        worse = dict.fromkeys(better, 0.0) if one.worse is None else values.get(one.worse, {}).get(one.measure, {})
        if pairs := _pairs(better, worse):
            yield one, _judged(one, pairs)


def _pairs(better: Mapping[Seed, float], worse: Mapping[Seed, float]) -> list[tuple[float, float]]:
    """One pair a seed: where it was run on several processors, the mean of them, since they are not independent."""
    by_number: dict[int, list[tuple[float, float]]] = {}
    for seed in sorted(better.keys() & worse.keys()):
        by_number.setdefault(seed[0], []).append((better[seed], worse[seed]))
    return [
        (mean(ours for ours, _ in of_seed), mean(theirs for _, theirs in of_seed)) for of_seed in by_number.values()
    ]


def _judged(one: Expectation, pairs: list[tuple[float, float]]) -> Judgement:
    """pairs: (better, worse) of the same seed; `worse` is 0 where there is none."""
    share = 1.0 if one.ratio is None else one.ratio
    differences = [better - share * worse for better, worse in pairs]
    gap = mean(differences)
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    less = one.lower or one.ratio is not None
    beyond = gap - one.margin if one.worse is None or not less else gap + one.margin
    return Judgement(_sentence(one), _measured(one, pairs, gap, error), _verdict(-beyond if less else beyond, error))


def _verdict(beyond: float, error: float) -> Verdict:
    """beyond: how far the difference lies on the wanted side of its bound. One seed has no standard error."""
    if abs(beyond) <= 2 * error:
        return "undecided"
    return "holds" if beyond > 0 else "fails"


def _sentence(one: Expectation) -> str:
    subject = one.better if one.measure == "accuracy" else f"{one.measure} of {one.better}"
    if one.worse is None:
        return f"{subject} {'is at most' if one.lower else 'reaches'} {one.margin:g}"
    if one.ratio is not None:
        return f"{subject} at most {one.ratio:g} of {one.worse}"
    by = f" by {one.margin:g} points" if one.margin >= 0 else f", or within {-one.margin:g} points of it"
    return f"{subject} {'below' if one.lower else 'above'} {one.worse}{by if one.margin else ''}"


def _measured(one: Expectation, pairs: list[tuple[float, float]], gap: float, error: float) -> str:
    spread = f" ± {error:.2f}" if math.isfinite(error) else ""
    seeds = f"{len(pairs)} seed{'s' if len(pairs) > 1 else ''}"
    if one.ratio is not None:
        better, worse = (mean(column) for column in zip(*pairs, strict=True))
        return f"{better:.2f} of {worse:.2f}, {gap:+.2f}{spread} against the share, {seeds}"
    return f"{gap:{'+' if one.worse else ''}.2f}{spread}, {seeds}"
