"""IDEAL's generators: what they are asked for, and that each of their codes has a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sansdata.engine.session import Session
from sansdata.methods.ideal import IDEAL, sureness
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher

TASK = ImageTask(shape=(1, 8, 8), classes=2, mean=(0.0,), std=(1.0,))


class Brightness(torch.nn.Module):
    """Dark or bright, whatever part of an image is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = self.gain * (images.flatten(1).mean(1) - 0.25)
        return torch.stack([-bright, bright], 1)


def test_sureness_is_the_mean_of_p_ln_p() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    shares = np.exp(logits.double().numpy())
    shares /= shares.sum(1, keepdims=True)
    assert sureness(logits).numpy() == pytest.approx((shares * np.log(shares)).mean(1), abs=1e-6)


def kept(**options: Any) -> tuple[Session, Any]:
    """A session whose student knows all that its teacher does, after its first round, and the images of that."""
    small = {"latent": 16, "width": 8, "images": 24, "generator_steps": 60, "generator_lr": 1e-2, "unsure": 0.0}
    config = method_config("ideal", "default", {**small, **options, "transfer": {"batch": 8}})
    session = Session(IDEAL, config, Teacher.from_module(Brightness(), TASK), Brightness(), TASK, Runtime(), 3, 20)
    session.move()
    method: Any = session.method
    return session, method.pool


def test_each_code_becomes_the_class_that_it_was_given() -> None:
    """A reader found codes drawn anew at each step: no generator could have told which class was meant."""
    session, pool = kept()
    assert pool.targets[:24].tolist() == [0, 1] * 12
    images = pool.codec.unpack(pool.inputs)[:24]
    with torch.no_grad():
        answers = session.context.student_outputs(session.context.runtime.place(images)).logits.argmax(1)
    assert float((answers == pool.targets[:24]).float().mean()) > 0.8


def test_an_unsure_student_is_asked_for() -> None:
    def mean_entropy(unsure: float) -> float:
        session, pool = kept(unsure=unsure)
        images = session.context.runtime.place(pool.codec.unpack(pool.inputs)[:24])
        with torch.no_grad():
            return float(-sureness(session.context.student_outputs(images).logits).mean())

    assert mean_entropy(50.0) > mean_entropy(0.0)


@pytest.mark.parametrize("again", [False, True])
def test_the_pool_is_seen_anew_only_where_it_is_asked_about_anew(again: bool) -> None:
    session, pool = kept(again=again)
    asked = session.context.counters["teacher_forwards"]
    assert asked == (0 if again else 24)
    session.move()
    assert session.last_batch is not None
    stored = pool.codec.unpack(pool.inputs)[: len(pool)].flatten(1)
    seen: Any = session.last_batch.inputs
    whole = torch.cdist(seen.flatten(1), stored).amin(1) < 1e-4
    assert bool(whole.all()) != again
    assert session.context.counters["teacher_forwards"] - asked == (8 if again else 0)
