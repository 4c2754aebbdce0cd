"""MosaicKD's generator between the teacher, the student and the judge of patches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import make_pool, make_student, make_task, make_teacher

from sansdata.engine.session import Session
from sansdata.methods.index import method_config
from sansdata.methods.mosaickd import MosaicKD
from sansdata.objectives.class_priors import evenness
from sansdata.runtime import Runtime
from sansdata.synthesis.patch_discriminator import PatchDiscriminator, looks_real, told_apart


def make_session(**options: Any) -> Session:
    given = {"latent": 8, "width": 8, "patch_width": 8, "student_steps": 2, "transfer": {"batch": 16}} | options
    config = method_config("mosaickd", "default", given)
    return Session(MosaicKD, config, make_teacher(), make_student(), make_task(), Runtime(), 7, 40, pool=make_pool())


def test_patch_losses_against_a_loop() -> None:
    stream = torch.Generator().manual_seed(0)
    real, made = (torch.randn(3, 2, 2, generator=stream, dtype=torch.float64) for _ in range(2))

    def summed(values: torch.Tensor, wanted: bool) -> float:
        sure = [1 / (1 + math.exp(-v)) for v in values.flatten().tolist()]
        return -sum(math.log(p if wanted else 1 - p) for p in sure)

    assert looks_real(made).tolist() == pytest.approx([summed(one, True) for one in made], rel=1e-5)
    both = (summed(real, True) + summed(made, False)) / len(real)  # binary cross-entropies over images, as released
    assert told_apart(real, made).item() == pytest.approx(both / 2, rel=1e-5)


def test_evenness_is_lowest_where_classes_are_even() -> None:
    even = 50 * torch.eye(4, dtype=torch.float64)
    assert evenness(even).item() == pytest.approx(-math.log(4))
    assert evenness(even[:1].repeat(4, 1)).item() == pytest.approx(0, abs=1e-9)


def test_the_judge_sees_ten_pixels_and_no_more() -> None:
    judge = PatchDiscriminator(1, 4).eval()
    images = torch.randn(1, 1, 32, 32, requires_grad=True)
    judge(images)[0, 4, 4].backward()
    assert images.grad is not None
    rows, columns = images.grad[0, 0].nonzero().T
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == 10


def test_the_judge_learns_to_tell_the_pool_from_what_is_made() -> None:
    session = make_session(generator_lr=0.01)
    method: Any = session.method
    made = torch.full((16, 1, 8, 8), 0.5) + 0.05 * torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    told = []
    for move in range(60):
        session.streams.begin(move)
        told.append(method.adversary.step(method._pooled(16, "pool"), made, method.config.local).item())
    assert told[0] == pytest.approx(4 * math.log(2), abs=2)  # an image of 8x8 has four patches
    assert told[-1] < 0.4 * told[0]


@pytest.mark.parametrize("term", ["adversarial", "align", "local", "balance"])
def test_each_term_moves_the_generator(term: str) -> None:
    off = dict.fromkeys(("adversarial", "align", "local", "balance"), 0.0)
    session = make_session(**(off | {term: 1.0}))
    method: Any = session.method
    before = [p.detach().clone() for p in method.generator.parameters()]
    session.move()
    assert any(not torch.equal(old, new) for old, new in zip(before, method.generator.parameters()))
    assert all(p.grad is None for p in method.adversary.discriminator.parameters())
    assert all(p.grad is None for p in session.student.parameters())


@pytest.mark.parametrize("with_pool", [True, False])
def test_the_student_also_learns_images_of_the_pool(with_pool: bool) -> None:
    session = make_session(with_pool=with_pool, view="none")
    session.advance(2)
    assert session.last_batch is not None
    images, pool = session.last_batch.images, make_pool()
    assert len(images) == (32 if with_pool else 16)
    given = {image.numpy().tobytes() for image in pool.at(torch.arange(len(pool)))}
    known = [image.numpy().tobytes() in given for image in images]
    assert known == [False] * 16 + [True] * (16 if with_pool else 0)


def test_student_steps_follow_each_step_of_the_generator() -> None:
    session = make_session()
    assert [session.move()[0] for _ in range(7)] == ["acquire", "transfer", "transfer"] * 2 + ["acquire"]
