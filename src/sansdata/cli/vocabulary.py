"""`sansdata vocabulary`: the words of a teacher that writes, for its student to read by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def vocabulary(
    teacher: Annotated[str, typer.Option(metavar="SPEC", help="a language model")],
    task: Annotated[Path, typer.Option(metavar="FILE", help="a task of texts")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: the tokenizer that the task names")] = None,
    texts: Annotated[int, typer.Option(help="how many are written for it", min=1)] = 2000,
    size: Annotated[int, typer.Option(help="the most words", min=4)] = 20_000,
    seed: Annotated[int, typer.Option(help="of what is written")] = 0,
    contexts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="what the texts are about, one a line; default: written too")
    ] = None,
) -> None:
    """Have the teacher write some texts, and keep their words as the tokenizer.json of its student."""
    from ..api.vocabulary import write_vocabulary

    done = write_vocabulary(teacher, task, out, texts, size, seed, contexts)
    print(f"file      {done.file}")
    print(f"words     {done.words:,} of {done.texts:,} texts")
