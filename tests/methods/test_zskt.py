"""ZSKT: one set of latents a pseudo-batch, images and answers made once, the released reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import CLASSES, make_student, make_task, make_teacher

from sansdata.contracts import Batch, Outputs
from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import Runtime
from sansdata.settings import FeatureTerms
from sansdata.synthesis.generator import latents

OPTIONS = {"latent": 6, "width": 4, "student_steps": 3, "transfer": {"batch": 8}}


def session(features: FeatureTerms | None = None, **more: Any) -> Session:
    config = method_config("zskt", "default", OPTIONS | more)
    parts = {"features": features} if features else {}
    return Session(find_method("zskt"), config, make_teacher(), make_student(), make_task(), Runtime(), 7, 12, parts)


def taught(one: Session) -> Batch:
    assert one.move()[0] == "transfer"
    assert one.last_batch is not None
    return one.last_batch


def test_a_pseudo_batch_is_what_the_updated_generator_makes_of_the_same_latents() -> None:
    one = session()
    assert one.move()[0] == "acquire"
    one.streams.begin(0)
    codes = latents(8, 6, one.context)
    with torch.no_grad():
        wanted = one.context.pixels.undo(one.method.adversary.generator(codes))  # type: ignore[attr-defined]
    seen = [taught(one).inputs for _ in range(3)]
    assert all(torch.equal(images, wanted) for images in seen)
    assert one.move()[0] == "acquire"
    assert not torch.equal(taught(one).inputs, wanted)


@pytest.mark.parametrize("attention", [0.0, 250.0])
def test_the_teacher_is_asked_twice_a_pseudo_batch_whatever_the_student_is_taught(attention: float) -> None:
    """Once for the generator's gradient, once for the answers, the features of an added term among them."""
    one = session(FeatureTerms(attention=attention) if attention else None)
    one.advance(8)
    assert one.context.progress.steps == 6
    assert one.context.counters["teacher_forwards"] == 2 * 2 * 8
    assert one.context.counters["samples"] == 2 * 8


def test_the_loss_is_the_released_mean_over_batch_and_classes() -> None:
    one = session()
    rng = np.random.default_rng(0)
    s, t = 3 * rng.normal(size=(8, CLASSES)), 3 * rng.normal(size=(8, CLASSES))
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (t, s))
    batch = Batch(torch.zeros(8, 1, 8, 8), teacher_outputs=Outputs(torch.tensor(t)))
    losses = one.method.student_loss(lambda _: Outputs(torch.tensor(s)), batch)
    assert float(losses.total()) == pytest.approx((p * np.log(p / q)).mean(), rel=1e-6)


def test_another_match_is_a_mean_already() -> None:
    one = session(transfer={"batch": 8, "match": "l1"})
    s, t = torch.randn(8, CLASSES), torch.randn(8, CLASSES)
    batch = Batch(torch.zeros(8, 1, 8, 8), teacher_outputs=Outputs(t))
    losses = one.method.student_loss(lambda _: Outputs(s), batch)
    assert float(losses.total()) == pytest.approx((s - t).abs().mean().item(), rel=1e-6)


def test_both_rates_fall_to_nought_together() -> None:
    one = session()
    while one.context.progress.steps < 6:
        one.move()
    one.move()
    generator = one.method.adversary.optimizer.param_groups[0]["lr"]  # type: ignore[attr-defined]
    one.move()
    assert generator == pytest.approx(0.5e-3)
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_steps_on_a_pseudo_batch_bring_the_student_nearer() -> None:
    """Divergence on the images of one generator step, before and after the student's steps on them."""
    one = session(student_steps=10, transfer={"batch": 64})
    one.advance(1)
    found = [float(one.move()[1].values()["match"]) for _ in range(10)]
    assert found[-1] < 0.8 * found[0]
