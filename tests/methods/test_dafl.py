"""DAFL as the host of PRE-DFKD and LRA: several student steps on fresh batches, a generator that also disagrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import make_student, make_task, make_teacher

from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import Runtime

OPTIONS = {"latent": 6, "width": 4, "transfer": {"batch": 8}}


def session(**more: Any) -> Session:
    config = method_config("dafl", "default", OPTIONS | more)
    return Session(find_method("dafl"), config, make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def test_several_student_steps_see_a_fresh_batch_each() -> None:
    one, seen, kinds = session(student_steps=3), [], []
    for _ in range(8):
        kinds.append(one.move()[0])
        if kinds[-1] == "transfer":
            assert one.last_batch is not None
            seen.append(one.last_batch.inputs.numpy().tobytes())
    assert kinds == ["acquire", *["transfer"] * 3, "acquire", *["transfer"] * 3]
    assert len(set(seen)) == 6
    assert one.context.counters["samples"] == 8 * 8
    plan = find_method("dafl").plan(one.method.config, 7)
    assert plan == {"acquire": 3, "transfer": 7}


def test_one_student_step_takes_the_batch_that_was_judged() -> None:
    one = session()
    one.move()
    judged = one.method.schedule["images"]  # type: ignore[attr-defined]
    asked = one.context.counters["teacher_forwards"]
    one.move()
    assert one.last_batch is not None
    assert one.last_batch.inputs is judged
    assert one.context.counters["teacher_forwards"] == asked


def test_disagreement_is_the_mean_over_classes_and_leaves_the_student_alone() -> None:
    one = session(adversarial=1.0)
    before = {name: p.detach().clone() for name, p in one.student.named_parameters()}
    _, losses = one.move()
    images = one.method.schedule["images"]  # type: ignore[attr-defined]
    with torch.no_grad():
        other = session(adversarial=1.0)
        other.student.train()
        p = (other.context.student_outputs(images).logits.double() / 3).softmax(1).numpy()
        q = (other.context.teacher(images).logits.double() / 3).softmax(1).numpy()
    m = ((p + q) / 2).clip(0.01, 0.99)
    p, q = p.clip(0.01, 0.99), q.clip(0.01, 0.99)
    divergence = (m * (np.log(m) - 0.5 * np.log(p) - 0.5 * np.log(q))).mean()
    assert float(losses.values()["disagreement"]) == pytest.approx(1 - divergence, abs=1e-5)
    assert all(torch.equal(before[name], p) for name, p in one.student.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in one.student.parameters())


def test_without_weight_the_student_is_not_asked() -> None:
    one = session()
    _, losses = one.move()
    assert "disagreement" not in losses.values()
    assert one.context.counters["student_forwards"] == 0


def test_the_generator_moves_towards_disagreement() -> None:
    """Its own terms off, only the adversary's pull is left; the student stands still."""
    one = session(adversarial=50.0, one_hot=0.0, entropy=0.0, activation=0.0, generator_lr=5e-3)
    values = []
    for _ in range(30):
        one.method.schedule["transfers_left"] = 0  # type: ignore[attr-defined]
        values.append(float(one.move()[1].values()["disagreement"]))
    assert sum(values[-5:]) < sum(values[:5])
