"""`sansdata convert`: a clean file of weights out of one that needs code to be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..api.convert import Converted

SHOWN = 12


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a pickled model, a TorchScript archive, a checkpoint")],
    key: Annotated[str | None, typer.Option(metavar="KEY", help="of several sets of weights only this one")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: FILE's name with .safetensors")] = None,
) -> None:
    """Write the weights in FILE as safetensors, without running anything in it, and say what was left out."""
    from ..api.convert import convert as write

    for line in lines_of(write(file, key, out)):
        print(line)


def lines_of(done: Converted) -> list[str]:
    """What is said of a file that was converted."""
    lines = [f"file      {done.file}"]
    lines += [f"weights   {place or 'of the file itself'}: {count} tensors" for place, count in done.sets.items()]
    if done.left_out:
        more = f" and {len(done.left_out) - SHOWN} more" if len(done.left_out) > SHOWN else ""
        lines.append(f"left out  {', '.join(done.left_out[:SHOWN])}{more}")
    choice = f"#{next(iter(done.sets))}" if len(done.sets) > 1 else ""
    lines.append(f"use it    ARCH@{done.file}{choice}, where ARCH is the network these weights belong to")
    return lines
