"""`sansdata export`: the student for other runtimes, parity checked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import words


class Target(StrEnum):
    onnx = "onnx"
    pt2 = "pt2"


def export(
    model: Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", help="a run directory, or a student file")],
    to: Annotated[Target, typer.Option(help="the format")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="default: DIR/student.FORMAT, or beside FILE"),
    ] = None,
) -> None:
    """Write the student with its preprocessing inside: images in 0..1, columns of a table or token ids go in."""
    from ..api.export import export as write

    done = write(model, "onnx" if to is Target.onnx else "pt2", out)
    print(f"file      {done.file}  ({done.size:,} bytes)")
    print(f"parity    differs by {done.max_abs_difference:.2e} at most, {done.allowed_difference:.0e} allowed")
    if done.argmax_agreement is not None:
        print(f"          same class on {words.percent(done.argmax_agreement)}")
