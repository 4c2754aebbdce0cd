"""`sansdata finetune`: a distilled student taught further on few local cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..config import parse_override
from . import words
from .validate import MANIFEST


def finetune(
    student: Annotated[str, typer.Argument(metavar="DIR_OR_FILE", help="a run directory, or a student file")],
    data: Annotated[str, typer.Option("--data", metavar="DIR", help="a folder of images, or a set with rows")],
    manifest: Annotated[Path, typer.Option("--manifest", metavar="CSV", help=MANIFEST)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="a new directory for the new version")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key=value]", help="head_lr, block_lr, free, last_layer, epochs, anchor, synthetic"),
    ] = None,
    synthetic: Annotated[
        Path | None, typer.Option("--synthetic", metavar="DIR", help="a run or its images.npz; else the run's own")
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="A,B", help="group columns; else all that are left")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="of the folds and the batches")] = 0,
    background: Annotated[
        Literal["white", "black"] | None,
        typer.Option("--background", help="what transparent pictures of a folder are seen on"),
    ] = None,
) -> None:
    """Teach a distilled student on few labelled cases, as a new version; before and after on cases that neither saw."""
    options: dict[str, Any] = dict(parse_override(text) for text in settings or ())
    from ..api.finetune import finetune as tuned

    names = None if groups is None else [name.strip() for name in groups.split(",")]
    done = tuned(
        student, data, manifest, out, synthetic=synthetic, groups=names, settings=options, seed=seed,
        background=background,
    )  # fmt: skip
    comparison = done.comparison
    print(f"tested on {comparison.cases:,} cases of {comparison.patients:,} patients that neither saw")
    for stage in comparison.stages:
        print(
            f"{stage.name:<9} {len(stage.losses) - 1} epochs, the weights after {stage.kept} kept: loss on the "
            f"stopping fold {stage.losses[0]:.4f} to {stage.losses[stage.kept]:.4f}"
        )
    for one in comparison.figures:
        print(f"{one.name:<44} {one.value:8.4f}{words.between(one.interval)}")
    print(f"chance    {comparison.chance:.4g} of so uneven a change, by patient, if there were none")
    if comparison.kept is not None:
        before, after = (words.percent(share) for share in comparison.kept)
        print(f"synthetic the teacher's class is named for {before} before, for {after} after")
    for one in comparison.suppressed:
        print(f"not shown {one.column} {one.level}: {one.reason}")
    for one in comparison.warnings:
        print(f"caution   {one.name}: {one.text}")
    print(f"student   {done.folder / 'student.safetensors'}, a new version; its parent is {done.parent[:12]}")
