"""`sansdata reproduce`: a published claim, run on real data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Scale(StrEnum):
    small = "small"
    paper = "paper"


def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a recipe of `sansdata list recipes`")],
    scale: Annotated[Scale, typer.Option(help="small: minutes on two cores")] = Scale.small,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="how many; the recipe's own number")] = None,
) -> None:
    """Run what is missing of a recipe, keep its figures as JSON, and rewrite docs/reproduction.md."""
    from ..reproduce.runner import reproduce as run

    run(name, scale.value, seeds)
