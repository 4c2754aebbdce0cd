"""`sansdata rows`: a table of synthetic rows, or labelled pictures, out of a run of fair4free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from . import words

RULE = "the group that a row is decoded for: neutral, marginal, balanced, own or fixed:GROUP"


def rows(
    model: Annotated[str, typer.Argument(metavar="DIR", help="the run directory of a generator of latents")],
    teacher: Annotated[str, typer.Option(metavar="FILE", help="the autoencoder whose latents it learnt")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="a .csv file, whose schema goes beside it as .yaml; of pictures .npz")
    ],
    count: Annotated[int, typer.Option(metavar="N", help="rows")] = 20_000,
    rule: Annotated[str, typer.Option(metavar="RULE", help=RULE)] = "neutral",
    proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="for neutral: must not see the group either; may be repeated; all"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
) -> None:
    """Write synthetic rows as CSV, with the task of the table beside them, or pictures as .npz; no data is read."""
    if out.suffix.lower() == ".npz":
        if proxy:
            raise ConfigError("--proxy names columns of a table, which pictures do not have")
        _pictures(model, teacher, out, count, rule, seed)
        return
    from ..api.rows import write_rows

    done = write_rows(model, teacher, out, count=count, rule=rule, proxies=proxy or (), seed=seed)
    print(f"rows      {done.file}  ({done.count:,}, rule {done.rule})")
    print(f"schema    {done.schema}  (a task: --task {done.schema})")
    for name, share in done.by_group().items():
        print(f"group     {name}: {words.percent(share)} of its rows have the good class")


def _pictures(model: str, teacher: str, out: Path, count: int, rule: str, seed: int) -> None:
    from ..api.pictures import write_pictures

    done = write_pictures(model, teacher, out, count=count, rule=rule, seed=seed)
    print(f"pictures  {done.file}  ({done.count:,}, rule {done.rule}: x, their classes y and groups s)")
    counted = done.made.groups.bincount(minlength=len(done.model.names)).tolist()
    for name, number in zip(done.model.names, counted):
        print(f"group     {name}: {words.percent(number / done.count)}")
