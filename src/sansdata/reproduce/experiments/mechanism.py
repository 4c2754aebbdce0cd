"""Whether a method's means work as its paper says: how spread its samples are, how soon the teacher knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...api.evaluate import evaluate
from ...contracts import Batch
from ...engine.session import Session
from ...methods.index import find_method, method_config
from ...runtime import make_runtime
from ...tasks import load_task
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ..recipes.model import Arm, Recipe
from ..students import drawn

WATCHED = range(40, 61)
"""Generator steps around which the teacher's cross-entropy on new images is taken."""
KNOWN, OVER = 0.5, 10
"""The cross-entropy at which images count as known to the teacher, and over how many moves its mean is taken."""
SAMPLES = 1024


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The arm's session, watched; `arm.experiment["generator_steps"]` are those of one acquiring move."""
    assert recipe.teacher is not None
    task = load_task(recipe.task)
    loaded = load_teacher(f"{recipe.teacher.network}@{teacher['path']}", task)
    student = drawn(recipe.student, seed, loaded, task).module
    config = method_config(arm.method, arm.preset, arm.options)
    session = Session(find_method(arm.method), config, loaded, student, task, make_runtime(), seed, arm.steps)
    curve = _advance(session, arm)
    measures = _of_samples(session, loaded)
    if curve:
        early = [value for steps, value in curve if steps in WATCHED]
        measures["CE after 50 generator steps"] = sum(early) / len(early)
        measures["generator steps to CE 0.5"] = steps_to_known(curve)
    score = evaluate(session.student.eval(), recipe.data, task)
    cost = dict(session.context.counters.values)
    return {"accuracy": score.accuracy, "steps": arm.steps, "cost": cost, "measures": measures}


def _advance(session: Session, arm: Arm) -> list[tuple[int, float]]:
    """Takes the arm's student steps; gives generator steps taken and the teacher's cross-entropy on their images."""
    each, taken, curve = arm.experiment.get("generator_steps", 0), 0, []
    while session.context.progress.steps < arm.steps:
        kind, losses = session.move()
        if kind == "acquire" and each:
            taken += each
            curve.append((taken, float(losses.values()["ce"])))
    return curve


def steps_to_known(curve: list[tuple[int, float]]) -> float:
    """After how many generator steps the mean of the last ten cross-entropies was first below 0.5; all steps where it
    never was. Draws are new with every call, so that it is no single batch that is known."""
    for end in range(OVER, len(curve) + 1):
        if sum(value for _, value in curve[end - OVER : end]) / OVER < KNOWN:
            return float(curve[end - 1][0])
    return float(curve[-1][0])


def _of_samples(session: Session, teacher: Teacher) -> dict[str, float]:
    """Of what the student is shown at the end, by the teacher's features: the vectors that enter its last layer."""
    head = teacher.inside.head
    assert head is not None
    batches: list[Batch] = []
    session.streams.begin(session.moves)
    while sum(len(batch.images) for batch in batches) < SAMPLES:
        # Draws go on within one move, so every batch is another one.
        batches.append(session.method.transfer_batch())
    images = torch.cat([batch.images for batch in batches])[:SAMPLES]
    features, logits = _features(teacher, images, head)
    classes = logits.argmax(1)
    return {
        "feature cosine x100": 100 * mean_pairwise_cosine(features),
        "spread within a class x100": 100 * spread_within(features, classes),
    }


def _features(teacher: Teacher, images: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """(N, F) float64 and logits (N, K)."""
    features: list[Tensor] = []
    handle = teacher.module.get_submodule(head).register_forward_pre_hook(lambda _, given: features.append(given[0]))
    try:
        with torch.no_grad():
            logits = teacher(images).logits
    finally:
        handle.remove()
    return features[0].double(), logits


def mean_pairwise_cosine(features: Tensor) -> float:
    """Over all pairs of two different rows of (N, F)."""
    unit = F.normalize(features, dim=1)
    count = len(unit)
    return ((unit.sum(0).square().sum() - count) / (count * (count - 1))).item()


def spread_within(features: Tensor, classes: Tensor) -> float:
    """Mean variance of unit features (N, F) about their class's mean, over the classes (N,) with two rows or more."""
    unit = F.normalize(features, dim=1)
    groups = [unit[classes == c] for c in classes.unique()]
    return torch.stack([group.var(0).sum() for group in groups if len(group) > 1]).mean().item()
