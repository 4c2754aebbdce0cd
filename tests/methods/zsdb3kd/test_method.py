"""ZSDB3KD on teachers whose boundaries are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sansdata.contracts import Questions
from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.methods.zsdb3kd import ZSDB3KD
from sansdata.runtime import Runtime
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]
TINY = {
    "batch": 12, "iterations": 4, "starts": 3, "directions": 8, "halvings": 10, "noises": 3, "anchors": 8,
    "steps_per_batch": 3, "transfer": {"batch": 8},
}  # fmt: skip


def session(options: dict, steps: int = 3, teacher: Teacher | None = None, task=None) -> Session:
    task = task or WORLD.task
    config = method_config("zsdb3kd", "default", {**TINY, **options})
    student = WORLD.student() if teacher is None else nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    return Session(find_method("zsdb3kd"), config, teacher or WORLD.teacher(), student, task, Runtime(), 3, steps)


def run(at_work: Session, steps: int) -> ZSDB3KD:
    while at_work.context.progress.steps < steps:
        at_work.move()
    return at_work.method  # type: ignore[return-value]


@pytest.mark.parametrize("options", [{}, {"robustness": "boundary"}, {"robustness": "sample"}, {"chunk": 3}])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_queries_are_those_of_the_formula(options, steps):
    at_work = session(options, steps)
    method = run(at_work, steps)
    calls = ZSDB3KD.questions(method.config, steps, lambda rows: Questions())
    assert at_work.context.counters["teacher_forwards"] == sum(rows * times for rows, times in calls.items())
    assert set(calls) == {12}


def soft_labels(method: ZSDB3KD) -> torch.Tensor:
    """(12, K), kept behind the teacher's answers."""
    assert method.pool.logits is not None
    return method.pool.logits[:12].float().chunk(2, dim=1)[1]


class Brightness(nn.Module):
    """Class 1 where the mean of the pixels is above 0.5: a plane, at distance |sum - 8| / 4 of 16 pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


def brightness() -> tuple[Teacher, ImageTask]:
    task = ImageTask(classes=2, shape=(1, 4, 4), mean=(0.0,), std=(1.0,))
    return Teacher.from_module(Brightness(), task), task


def test_images_move_away_from_the_boundary_and_keep_their_class():
    teacher, task = brightness()
    at_work = session({"iterations": 6, "stride": 0.1}, 1, teacher, task)
    method = at_work.method
    begun = {}
    noise = method._noise  # type: ignore[attr-defined]
    method._noise = lambda: begun.setdefault("noise", noise())  # type: ignore[attr-defined]
    run(at_work, 1)
    points, classes = begun["noise"]
    kept, targets = method.pool.inputs[:12].flatten(1) / 255, method.pool.targets[:12]  # type: ignore[attr-defined]
    assert targets.equal(classes)
    assert sorted(classes.tolist()) == [0] * 6 + [1] * 6  # as many of each as there are
    before, after = ((rows.sum(1) - 8).abs() / 4 for rows in (points, kept))
    assert (after >= before - 0.02).all()
    assert (after - before).mean() > 0.2


def test_a_soft_label_is_the_inverse_distance_and_their_sum():
    """Towards the one other class along the plane's normal the minimal distance is |sum - 8| / 4."""
    teacher, task = brightness()
    settings = {"robustness": "minimal", "directions": 400, "halvings": 16, "anchors": 11}
    method = run(session(settings, 1, teacher, task), 1)
    labels, points = soft_labels(method), method.pool.inputs[:12].flatten(1) / 255
    exact = 4 / (points.sum(1) - 8).abs()
    assert torch.allclose(labels[:, 0], labels[:, 1])  # of two classes the own entry is that of the other
    assert (1 / labels[:, 0] >= 0.98 / exact).all()  # never nearer than it is
    along_lines = soft_labels(run(session(settings | {"robustness": "boundary"}, 1, teacher, task), 1))
    assert (1 / labels[:, 0]).mean() < (1 / along_lines[:, 0]).mean()
