"""`sansdata audit`: what can be said of a student, by the level of evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import words

if TYPE_CHECKING:
    from ..audit.findings import Audit

HEADS = {
    "A": "synthetic inputs", "B": "student beside teacher", "C": "over-optimisation", "D": "backdoors",
    "E": "groups and classes", "F": "privacy",
}  # fmt: skip


def audit(
    run: Annotated[str, typer.Argument(metavar="DIR", help="a finished run")],
    teacher: words.OptionalTeacher = None,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", metavar="DIR", help="a run of another seed: inputs that were not seen")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="DATA", help="natural inputs; labels are not looked at")
    ] = None,
    data: words.OptionalData = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="CSV", help="cases of --data, as for validate")
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="A,B", help="group columns of the manifest, or of a table")
    ] = None,
    training: Annotated[
        str | None, typer.Option("--training", metavar="DATA", help="some of the teacher's own training data")
    ] = None,
    scan: Annotated[bool, typer.Option("--scan", help="look for triggers of backdoors; takes minutes")] = False,
    device: words.Device = "auto",
) -> None:
    """What a student inherited, by what there is to judge it: never more than the evidence carries."""
    from ..api.audit import audit as audited

    names = () if groups is None else [name.strip() for name in groups.split(",")]
    audit = audited(
        run, teacher, held_out=held_out, inputs=inputs, data=data, manifest=manifest, groups=names, training=training,
        scan=scan, device=device,
    )  # fmt: skip
    _say(audit)


def _say(audit: Audit) -> None:
    print(f"evidence  {audit.level.name}: {audit.level.says}")
    wide = max((len(one.name) for one in audit.entries), default=0)
    last = ""
    for one in sorted(audit.entries, key=lambda one: one.measure[0]):
        if one.measure[0] != last:
            last = one.measure[0]
            print(f"\n{HEADS[last]}")
        few = "  few" if one.count < 1000 else ""
        print(f"{one.measure:<4}{one.level.name} {one.name:{wide}} {one.value:9.4f}{words.between(one.interval)}{few}")
    print("\nnot measurable at this level")
    for one in audit.unmeasured:
        print(f"{one.measure:<4}{one.name}: needs {one.needs}")
    for one in audit.warnings:
        print(f"caution   {one.name}: {one.text}")
    for note in audit.notes:
        print(f"note      {note}")
