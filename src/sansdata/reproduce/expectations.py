"""What a recipe expects of its figures, held against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import mean, stdev
from typing import Literal

from .recipes.model import Expectation, Recipe

Verdict = Literal["holds", "fails", "undecided"]
BySeed = Mapping[str, Mapping[str, Mapping[int, float]]]
"""arm -> measure -> seed -> value; 'accuracy' is in percent."""
Means = dict[str, dict[str, float]]
"""arm -> measure -> mean over the seeds; 'accuracy' is in percent."""


def checks(recipe: Recipe, means: Means) -> Iterator[tuple[str, bool]]:
    """Each expectation that is not of paired seeds as a sentence with its figures, and whether it holds."""
    for one in recipe.expected:
        if one.paired:
            continue
        value = means.get(one.better, {}).get(one.measure)
        other = means.get(one.worse, {}).get(one.measure) if one.worse is not None else None
        if value is None or (one.worse is not None and other is None):
            continue
        of = "" if one.measure == "accuracy" else f"{one.measure} of "
        side = "below" if one.lower or one.ratio is not None else "above"
        if other is None:
            said = f"{of}{one.better} {'is at most' if one.lower else 'reaches'} {one.margin:g}: {value:.2f}"
            yield said, value <= one.margin if one.lower else value >= one.margin
        elif one.ratio is not None:
            limit = one.ratio * other
            yield f"{of}{one.better} at most {one.ratio:g} of {one.worse}: {value:.2f} of {other:.2f}", value <= limit
        else:
            gap = other - value if one.lower else value - other
            shown = value - other
            yield f"{of}{one.better} {side} {one.worse} by {one.margin:g} points: {shown:+.2f}", gap >= one.margin


def paired(recipe: Recipe, values: BySeed) -> Iterator[tuple[str, Verdict]]:
    """Each expectation of paired seeds as a sentence with its figures, and whether it is beyond two standard errors."""
    for one in recipe.expected:
        if not one.paired:
            continue
        better = values.get(one.better, {}).get(one.measure, {})
        worse = dict.fromkeys(better, 0.0) if one.worse is None else values.get(one.worse, {}).get(one.measure, {})
        differences = [better[seed] - worse[seed] for seed in sorted(better.keys() & worse.keys())]
        if len(differences) > 1:
            yield _judged(one, differences)


def _judged(one: Expectation, differences: list[float]) -> tuple[str, Verdict]:
    gap, error = mean(differences), stdev(differences) / math.sqrt(len(differences))
    of = "" if one.measure == "accuracy" else f"{one.measure} of "
    if one.worse is None:
        bound = f"{'is at most' if one.lower else 'reaches'} {one.margin:g}"
        sentence, beyond = f"{of}{one.better} {bound}: {gap:.2f} ± {error:.2f} (SE)", gap - one.margin
        beyond = -beyond if one.lower else beyond
    else:
        side = "below" if one.lower else "above"
        sentence = f"{of}{one.better} {side} {one.worse} by {one.margin:g} points: {gap:+.2f} ± {error:.2f} (SE)"
        beyond = (-gap if one.lower else gap) - one.margin
    if abs(beyond) <= 2 * error:
        return sentence, "undecided"
    return sentence, "holds" if beyond > 0 else "fails"
