"""`sansdata evaluate`: figures on real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..tasks import load_task
from . import words


def evaluate(
    model: Annotated[str, typer.Argument(metavar="DIR_OR_SPEC", help="a run directory, or a SPEC with --task")],
    data: words.Data,
    task: words.OptionalTask = None,
    teacher: words.OptionalTeacher = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="also write all figures here")
    ] = None,
    device: words.Device = "auto",
) -> None:
    """Accuracy, per class, calibration and, with --teacher, agreement."""
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api import evaluate as measure
    from ..files import write_json

    found = measure(model, data, task=job, teacher=teacher, device=device).to_dict()
    if json_file is not None:
        write_json(json_file, found)
    low, high = found["accuracy_interval"]
    print(
        f"accuracy  {words.percent(found['accuracy'])}  (95 % interval {words.percent(low)} to {words.percent(high)})"
    )
    print(f"on        {found['count']:,} images of {found['source']}")
    if found.get("teacher_accuracy") is not None:
        print(f"teacher   {words.percent(found['teacher_accuracy'])}")
        print(f"agreement {words.percent(found['agreement'])}")
    print(f"ECE       {found['ece']:.4f}   NLL {found['nll']:.4f}   Brier {found['brier']:.4f}")
    print("per class " + json.dumps([None if v is None else round(100 * v, 1) for v in found["per_class"]]))
    for note in found["notes"]:
        print(f"note      {note}")
