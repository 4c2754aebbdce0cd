"""What a recipe expects of its figures, held against them."""

from __future__ import annotations

from collections.abc import Iterator

from .recipes.model import Recipe

Means = dict[str, dict[str, float]]
"""arm -> measure -> mean over the seeds; 'accuracy' is in percent."""


def checks(recipe: Recipe, means: Means) -> Iterator[tuple[str, bool]]:
    """Each expectation as a sentence with its figures, and whether it holds."""
    for one in recipe.expected:
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
