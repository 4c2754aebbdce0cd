"""DFAD: the order of steps, fresh images for each, the loss, both rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import CLASSES, make_student, make_task, make_teacher

from sansdata.contracts import Batch, Outputs
from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.models.generators import TransposedGenerator
from sansdata.runtime import Runtime

OPTIONS = {"latent": 6, "width": 4, "student_steps": 3, "transfer": {"batch": 8}}


def session(**more: Any) -> Session:
    config = method_config("dfad", "default", OPTIONS | more)
    return Session(find_method("dfad"), config, make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def test_the_student_begins_and_the_generator_follows() -> None:
    one = session()
    kinds = [one.move()[0] for _ in range(9)]
    assert kinds == ["transfer"] * 3 + ["acquire"] + ["transfer"] * 3 + ["acquire", "transfer"]


def test_each_student_step_sees_fresh_images_of_the_same_generator() -> None:
    one = session()
    generator = one.method.adversary.generator  # type: ignore[attr-defined]
    before = [p.detach().clone() for p in generator.parameters()]
    seen = []
    for _ in range(3):
        one.move()
        assert one.last_batch is not None
        seen.append(one.last_batch.inputs)
    assert len({images.numpy().tobytes() for images in seen}) == 3
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters()))
    one.move()
    assert not all(torch.equal(a, b) for a, b in zip(before, generator.parameters()))


def test_the_loss_is_the_mean_absolute_error_of_the_logits() -> None:
    s, t = torch.randn(8, CLASSES, dtype=torch.float64), torch.randn(8, CLASSES, dtype=torch.float64)
    batch = Batch(torch.zeros(8, 1, 8, 8), teacher_outputs=Outputs(t))
    losses = session().method.student_loss(lambda _: Outputs(s), batch)
    assert float(losses.total()) == pytest.approx(float((s - t).abs().sum() / (8 * CLASSES)), rel=1e-6)


def test_the_loss_is_linear_in_the_disagreement_where_kl_has_no_gradient_left() -> None:
    """Why the paper takes it: a confident teacher and a student near it."""
    teacher = torch.tensor([[40.0, 0.0, 0.0, 0.0]])
    batch = Batch(torch.zeros(1, 1, 8, 8), teacher_outputs=Outputs(teacher))

    def gradient(match: str) -> float:
        student = torch.tensor([[35.0, 0.1, 0.0, 0.0]], requires_grad=True)
        transfer = {"batch": 8, "match": match, "temperature": 1.0}
        losses = session(transfer=transfer).method.student_loss(lambda _: Outputs(student), batch)
        return float(torch.autograd.grad(losses.total(), student)[0].abs().max())

    assert gradient("l1") == pytest.approx(0.25)
    assert gradient("kl") < 1e-6


def test_both_rates_fall_at_the_milestones() -> None:
    one = session(student_steps=1)
    found = []
    while one.context.progress.steps < 10:
        kind, _ = one.move()
        if kind == "acquire":
            found.append(one.method.adversary.optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
    assert found == pytest.approx([1e-3] + [1e-4] * 2 + [1e-5] * 6)
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_a_bounded_generator_plays_for_the_logarithm_of_the_disagreement() -> None:
    """The same images give log(1 + d) instead of d, and the gradient that belongs to it."""
    found = {}
    for bounded in (False, True):
        one = session(bounded=bounded)
        method: Any = one.method
        codes = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
        losses = method.adversary.step(codes, method.config.transfer.matching, bounded=bounded)
        found[bounded] = float(losses.values()["disagreement"])
    assert found[True] == pytest.approx(torch.tensor(found[False]).log1p().item(), rel=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (40, 24)])
def test_generator_b_gives_images_of_any_size_within_its_range(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    generator = TransposedGenerator(6, (3, *size), width=4)
    images = generator(torch.randn(5, 6))
    assert images.shape == (5, 3, *size)
    assert images.abs().max() <= 1
    assert generator.project.out_features == 32 * -(-size[0] // 16) * -(-size[1] // 16)
    assert 0.015 < float(generator.doublings[0][0].weight.std()) < 0.025  # type: ignore[index,union-attr]
