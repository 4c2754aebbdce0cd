"""The words of the command's options, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TEACHER = "ARCH@FILE, timm:NAME, torchvision:NAME, package.module:factory@FILE, or a run directory"
TASK = "a YAML file (kind, shape, classes, mean, std, class_names) or a known name; see `sansdata list models`"

Teacher = Annotated[str, typer.Option("--teacher", metavar="SPEC", help=TEACHER)]
OptionalTeacher = Annotated[str | None, typer.Option("--teacher", metavar="SPEC", help=TEACHER)]
Task = Annotated[str, typer.Option("--task", metavar="TASK", help=TASK)]
OptionalTask = Annotated[str | None, typer.Option("--task", metavar="TASK", help=TASK)]
DATA = "a known set, a folder of class folders, or an .npz"
OptionalData = Annotated[str | None, typer.Option("--data", metavar="DATA", help=DATA)]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")]
RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")]


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:z.2f} %"


def between(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"   {ends[0]:.4f} to {ends[1]:.4f}"
