"""`sansdata trim`: one language out of a classifier of many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..tasks import load_task
from . import words

TEXT = "a file of the language, a line each: sentences, words, or words and their counts after a tab"


def trim(
    model: Annotated[str, typer.Argument(metavar="SPEC", help="a network of ours with its weights, or a folder")],
    task: words.Task,
    text: Annotated[Path, typer.Option(metavar="FILE", help=TEXT)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="a new directory for the network, its tokenizer and task")],
    least: Annotated[int, typer.Option(metavar="N", help="how often a piece must occur there to be kept")] = 1,
    layers: Annotated[int | None, typer.Option(metavar="N", help="layers to keep, evenly spread; default: all")] = None,
) -> None:
    """Keep of a classifier of texts only the words that a language needs; texts of these are answered as before."""
    job = load_task(task).model_dump(mode="json")
    from ..api.trim import TASK
    from ..api.trim import trim as cut

    done = cut(model, text, out, task=job, layers=layers, least=least)
    (before, parameters) = done.before
    print(f"words      {done.words:,} of {before:,}")
    print(f"parameters {done.parameters:,} of {parameters:,} ({words.percent(done.parameters / parameters)})")
    print(f"agreement  {words.percent(done.agreement)} with the original on the lines of {text}")
    print(f"task       {done.folder / TASK}")
