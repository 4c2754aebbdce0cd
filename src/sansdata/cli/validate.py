"""`sansdata validate`: student and teacher on local cases of patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..tasks import load_task
from . import words

if TYPE_CHECKING:
    from ..api.validate import Validation
    from ..figures import Figure

MANIFEST = "a .csv: path or row, label, patient_id, and group columns"


def validate(
    student: Annotated[str, typer.Argument(metavar="DIR_OR_SPEC", help="a run directory, or a SPEC with --task")],
    teacher: words.Teacher,
    data: Annotated[str, typer.Option("--data", metavar="DIR", help="a folder of images, or a set with rows")],
    manifest: Annotated[Path, typer.Option("--manifest", metavar="CSV", help=MANIFEST)],
    task: words.OptionalTask = None,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="A,B", help="group columns; else all that are left")
    ] = None,
    measure: Annotated[str, typer.Option("--measure", help="what decides: auroc, balanced_accuracy, ...")] = "auroc",
    margin: Annotated[float, typer.Option("--margin", help="how far the student may be below its teacher")] = 0.03,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="P", help="of two classes: class 1 is named from here on")
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="fit temperature and threshold on a quarter of the patients first")
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", metavar="N", help="of the bootstrap over patients")] = 1000,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="the record; else validation.json of the run")
    ] = None,
    background: Annotated[
        Literal["white", "black"] | None,
        typer.Option("--background", help="what transparent pictures of a folder are seen on"),
    ] = None,
    device: words.Device = "auto",
) -> None:
    """Student beside teacher on local cases, per class and group, with a verdict by a margin declared beforehand."""
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api.validate import validate as measured

    chosen = None if groups is None else [name.strip() for name in groups.split(",")]
    validation = measured(
        student, teacher, data, manifest, job, groups=chosen, measure=measure, margin=margin, threshold=threshold,
        recalibrate=recalibrate, resamples=resamples, out=out, device=device, background=background,
    )  # fmt: skip
    print(f"on        {validation.cases:,} cases of {validation.patients:,} patients")
    judged = validation.verdict
    print(
        f"verdict   {judged.outcome}: {judged.measure} of the student less the teacher's "
        f"{judged.difference:+.4f}{words.between(judged.interval)}"
    )
    print(f"          declared beforehand: not more than {judged.margin:g} below")
    for who, one in validation.recalibrations.items():
        named = "" if one.threshold is None else f"; class 1 is named from {one.threshold:.3f} on"
        moved = ", ".join(f"{offset:+.2f}" for offset in one.offsets[:10])
        print(f"{who}   recalibrated: logits over {one.temperature:.3g}, then {moved}{named}")
    _say_figures(validation)
    for one in validation.suppressed:
        print(f"not shown {one.column} {one.level}: {one.reason}")
    for one in validation.warnings:
        print(f"caution   {one.name}: {one.text}")
    for note in validation.notes:
        print(f"note      {note}")


def _say_figures(validation: Validation) -> None:
    """A line for each measure: student and teacher, and what lies between them with its interval."""
    by_name: dict[str, dict[str, Figure]] = {}
    for one in validation.figures:
        who, _, name = one.name.partition(" ")
        if hasattr(one, "value"):
            by_name.setdefault(name, {})[who] = one  # type: ignore[assignment]
    wide = max(len(name) for name in by_name)
    print(f"{'':{wide}}{'student':>10}{'teacher':>10}{'student less teacher, 95 % interval':>38}")
    for name, each in by_name.items():
        shown = [f"{each[who].value:10.4f}" if who in each else f"{'-':>10}" for who in ("student", "teacher")]
        apart = each.get("difference")
        text = "" if apart is None else f"{apart.value:+10.4f}{words.between(apart.interval)}"
        print(f"{name:{wide}}{''.join(shown)}{text}")
