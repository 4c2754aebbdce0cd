"""`sansdata check`: the preflight verdict, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from ..tasks import Task, load_task
from . import words


def check(
    teacher: words.Teacher,
    task: words.OptionalTask = None,
    student: Annotated[str | None, typer.Option(metavar="SPEC", help="also check this student")] = None,
) -> None:
    """What the teacher takes and gives, its faults, and which methods can work; exit code 2 where it cannot be used."""
    job = load_task(task) if task else _task_of(teacher)
    from ..api.check import check as examine

    verdict = examine(teacher, job.model_dump(mode="json"), student)
    from ..kinds.index import output_kind

    _print_facts(verdict, UNITS | {"gives": f"{{}} {output_kind(job).unit}"})
    if job.pair[0] == "image" and verdict["batch_norms"] is not None:
        print(f"scale     {_scale(verdict['training_brightness'])}")
    for line in verdict["notes"]:
        print(f"note      {line}")
    for line in verdict["warnings"]:
        print(f"warning   {line}")
    for line in verdict["faults"]:
        print(f"FAULT     {line}")
    for name, reasons in verdict["methods"].items():
        print(f"method    {name:<14} {'works' if not reasons else 'cannot: ' + '; '.join(reasons)}")
    if verdict["auto"]:
        print(f"auto      {verdict['auto']}")
    if verdict["faults"]:
        print("verdict   this teacher cannot be distilled as it is")
        raise typer.Exit(2)
    print("verdict   ready" + (", with warnings" if verdict["warnings"] else ""))


def _task_of(teacher: str) -> Task:
    """The task that the teacher's SPEC names by itself, as a panel does. Raises ConfigError where it names none."""
    from ..teachers.specs import task_of

    job = task_of(teacher)
    if job is None:
        raise ConfigError("--task TASK is needed: a YAML file or a known name (see `sansdata list models`)")
    return job


UNITS = {
    "parameters": "{} parameters",
    "student_parameters": "{} parameters",
    "batch_norms": "{} layer(s) with statistics",
}
LABELS = {
    "takes": "takes", "gives": "gives", "output": "output", "parameters": "weights", "student_parameters": "student",
    "answers": "answers", "access": "access", "batch_norms": "BatchNorm", "head": "head",
}  # fmt: skip


def _scale(brightness: Mapping[str, float] | None) -> str:
    """What its weights say of the images that it was trained on, under the task's mean and std."""
    if brightness is None:
        return "not told by its weights: the task's mean and std are taken on trust"
    return (
        f"trained on images with mean {brightness['mean']:.2f} and std {brightness['std']:.2f}, by its first BatchNorm"
    )


def _print_facts(verdict: dict[str, Any], units: Mapping[str, str]) -> None:
    for name, label in LABELS.items():
        value = verdict.get(name)
        if value is None or value == "":
            continue
        shown = (
            f"{value:,}"
            if isinstance(value, int)
            else " x ".join(map(str, value))
            if isinstance(value, list)
            else value
        )
        print(f"{label:<9} {units.get(name, '{}').format(shown)}")
