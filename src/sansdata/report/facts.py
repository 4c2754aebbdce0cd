"""Plain facts of a run that several pages speak of: its task, sizes, steps, time."""

from __future__ import annotations

import math

from ..errors import TaskError
from ..kinds.index import input_kind, output_kind
from ..tasks import Task
from .read import Run
from .words import clip, count, duration

MADE = "generated"
LISTED = 6
"""Numbers of one setting of the preprocessing that are written out."""


def unit(run: Run) -> str:
    """What several inputs are called: 'images', 'rows', 'texts'."""
    name = run.summary.at("unit").text() or (input_kind(run.task).unit if run.task is not None else "")
    return clip(name, 30) or "images"


def inputs(run: Run) -> str:
    """What the student learned from, in the words of a sentence."""
    return f"{unit(run)} of the pool" if pooled(run) else f"{MADE} {unit(run)}"


def pooled(run: Run) -> bool:
    """Whether the run read a pool."""
    return bool(run.manifest.at("pool").fields())


def size_ratio(run: Run) -> float | None:
    """Teacher's parameters per student's."""
    teacher = run.manifest.at("teacher", "parameters").number()
    student = run.manifest.at("student", "parameters").number()
    return teacher / student if teacher and student and teacher > 0 and student > 0 else None


def steps(run: Run) -> float | None:
    """Steps of the student, by the summary, or by the log where there is none."""
    done = run.summary.at("steps").number()
    logged = [series.steps[-1] for series in run.metrics.losses.values() if series.steps]
    return max(logged, default=None) if done is None else done


def seconds(run: Run) -> float | None:
    """Time of the run, by its log where it did not come to its end."""
    clock = run.metrics.clock.values
    ended = run.summary.at("cost", "seconds").number() or run.manifest.at("seconds").number()
    return ended or (clock[-1] if len(clock) else None)


def chance(task: Task | None) -> float | None:
    """The share that guessing gets right, where the task is a choice of one of several."""
    several = getattr(task.outputs, "classes", None) if task is not None else None
    return 1 / several if isinstance(several, int) and several > 0 else None


def task_text(task: Task) -> str:
    """'image × classes: normalised images, 3 x 32 x 32 (channels x height x width); 10 classes'."""
    outputs = output_kind(task)
    _, sizes = outputs.signature()
    return f"{' × '.join(task.pair)}: {input_kind(task).describe()}; {math.prod(sizes):,} {outputs.unit}"


def preprocessing_text(task: Task) -> str:
    """The door of the task, its numbers as a model's file has them; '' where it has no setting."""
    try:
        settings = input_kind(task).preprocessor(task.own_preprocessing).describe()
    except TaskError:  # a tokenizer that is not on this machine
        settings = task.own_preprocessing
    return clip("; ".join(f"{name} {_listed(value)}" for name, value in settings.items()), 400)


def _listed(value: object) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    texts = [f"{item:.4g}" if isinstance(item, float) else str(item) for item in value[:LISTED]]
    return ", ".join(texts) + (f", ... ({len(value)} in all)" if len(value) > LISTED else "")


def bits(run: Run) -> str:
    """'weights 4 (7 layers), activations 4 (7 places)' of a student that was trained at few bits, else ''."""
    bits = run.manifest.at("student", "bits")
    widths = [number for one in bits.at("weights").fields().values() if (number := one.number()) is not None]
    activations, places = bits.at("activations").number(), bits.at("places").number()
    parts = [f"weights {min(widths):g} ({len(widths)} layers)"] if widths else []
    parts += [f"activations {activations:g} ({count(places)} places)"] if activations is not None else []
    return ", ".join(parts)


def budget(run: Run) -> str:
    """What the run was allowed to spend, as it was asked for."""
    for amount in (run.plan.at("budget"), run.config.at("budget")):
        if amount.number() is not None:
            return duration(amount.number())
        if amount.text():
            return clip(amount.text(), 80)
    return "none set"


def planned(run: Run) -> str:
    """'of 3,000 planned'."""
    number = run.plan.at("steps").number()
    return "no plan recorded" if number is None else f"of {count(number)} planned"
