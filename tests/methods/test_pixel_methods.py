"""DeepInversion, ADI and ZSKD: what their cards say and the contract tests cannot see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, Plain, make_student, make_task, make_teacher, zoo

from sansdata.contracts import Access
from sansdata.decoding.pixels import unpack
from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.models.build import build
from sansdata.objectives.batch_stats import BatchStatistics
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher

TINY: dict[str, Any] = {"batch": 32, "iterations": 30, "chunk": 10, "steps_per_batch": 2, "transfer": {"batch": 8}}


@pytest.fixture(scope="module")
def quadrants() -> Teacher:
    """A teacher that knows dark noisy images by the quadrant that is bright; half of all pixels are black."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(zoo()).train()
        optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
        for _ in range(60):
            labels = torch.randint(CLASSES, (64,))
            bright = F.one_hot(labels, CLASSES).float().view(64, 1, 2, 2)
            images = (0.25 * torch.randn(64, 1, 8, 8) + 0.8 * F.interpolate(bright, scale_factor=4)).clamp(0, 1)
            loss = F.cross_entropy(module((images - 0.5) / 0.25), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss < 0.1
    return Teacher.from_module(module, make_task())


def session(name: str, teacher: Teacher | None = None, **options: Any) -> Session:
    config = method_config(name, "default", TINY | options)
    return Session(
        find_method(name), config, teacher or make_teacher(), make_student(), make_task(), Runtime(), seed=3, steps=20
    )


def until_kept(one: Session) -> Any:
    """The method after its first finished batch."""
    method: Any = one.method
    while not len(method.pool):
        one.move()
    return method


def distance(one: Session, images: torch.Tensor) -> float:
    """Of images in unit space to the teacher's BatchNorm statistics."""
    teacher = one.context.teacher
    statistics = BatchStatistics(teacher.module, teacher.inside.batch_norms)
    with torch.no_grad():
        return statistics(teacher(images, statistics.taps).taps).item()


# -- DeepInversion


def test_what_was_optimised_survives_the_8_bit_pool(quadrants: Teacher) -> None:
    """Pixels outside 0..1 are cut when they are kept: without the bounds the optimiser leans on what is cut."""

    def lost(clip: bool) -> float:
        one = session("deepinversion", quadrants, pixel_lr=0.2, clip=clip)
        method = until_kept(one)
        best = one.context.pixels.undo(method.inversion.best)
        assert bool(((best > -1e-6) & (best < 1 + 1e-6)).all()) == clip
        return distance(one, unpack(method.pool.inputs[:32])) / distance(one, best) - 1

    assert abs(lost(clip=True)) < 0.01
    assert lost(clip=False) > 0.2


def test_deepinversion_shows_the_wanted_classes_and_matches_statistics(quadrants: Teacher) -> None:
    one = session("deepinversion", quadrants, iterations=40, chunk=40, bn=0.05, pixel_lr=0.2)
    method = until_kept(one)
    images, targets = unpack(method.pool.inputs[:32]), method.pool.targets[:32]
    with torch.no_grad():
        shown = one.context.teacher(images).logits.argmax(1)
    assert (shown == targets).float().mean() > 0.6  # 1 in 4 by chance; rounding that differs by threads moves it
    assert distance(one, images) < 0.7 * distance(one, torch.rand(images.shape))


# -- ADI


def names_of(one: Session, moves: int) -> list[tuple[str, set[str]]]:
    return [(kind, set(losses.terms)) for kind, losses in (one.move() for _ in range(moves))]


def test_the_student_competes_once_it_has_learnt_something() -> None:
    seen = names_of(session("adi", iterations=4, chunk=2), 8)
    acquired = [names for kind, names in seen if kind == "acquire"]
    assert [("adi" in names) for names in acquired] == [False, False, True, True]


def test_without_its_weight_the_student_is_not_asked() -> None:
    one = session("adi", iterations=4, chunk=2, adi=0.0)
    other = session("deepinversion", iterations=4, chunk=2)
    for run in (one, other):
        run.advance(8)
    assert one.context.counters.values == other.context.counters.values
    assert torch.equal(*(run.method.pool.inputs[:64] for run in (one, other)))  # type: ignore[attr-defined]


def test_the_student_is_in_eval_mode_and_takes_no_gradient_while_it_competes() -> None:
    one = session("adi", iterations=4, chunk=2)
    modes: list[bool] = []
    one.advance(5)  # two of acquire, two of transfer, one of acquire
    before = {name: value.clone() for name, value in one.student.state_dict().items()}
    one.student.conv1.register_forward_hook(lambda module, _, __: modes.append(module.training))
    one.move()
    assert modes == [False, False]
    assert all(torch.equal(value, before[name]) for name, value in one.student.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in one.student.parameters())


def test_competition_finds_images_that_the_student_answers_otherwise() -> None:
    """At a student of random weights, so that only the weight differs between the two."""

    def disagreement(adi: float) -> float:
        one = session("adi", iterations=20, chunk=20, adi=adi, bn=0.0, pixel_lr=0.2)
        one.context.progress.steps = 1
        until_kept(one)
        images = unpack(one.method.pool.inputs[:32])  # type: ignore[attr-defined]
        with torch.no_grad():
            student, teacher = one.student.eval(), one.context.teacher.module
            inputs = one.context.pixels(images)
            a, b = (student(inputs) / 3).softmax(1), (teacher(inputs) / 3).softmax(1)
        return (a - b).abs().sum(1).mean().item()

    assert disagreement(20.0) > 1.05 * disagreement(0.0)


# -- ZSKD


def test_impressions_fill_unit_space_and_follow_their_targets() -> None:
    one = session("zskd", iterations=50, chunk=50, pixel_lr=0.05, temperature=5.0)
    method = until_kept(one)
    pixels = method.inversion.pixels
    assert pixels.min() == 0
    assert pixels.max() == 1
    with torch.no_grad():
        logits = one.context.teacher(pixels).logits
    targets = method.inversion.targets
    apart = lambda shown: ((shown / 5).softmax(1) - targets).abs().sum(1).mean()  # noqa: E731
    with torch.no_grad():
        start = one.context.teacher(torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))).logits
    assert apart(logits) < 0.7 * apart(start)


def test_all_classes_and_both_betas_are_in_a_batch() -> None:
    method = until_kept(session("zskd", iterations=1, chunk=1, batch=400))
    targets = method.inversion.targets
    assert targets.shape == (400, CLASSES)
    peaks = targets.amax(1)
    assert (peaks > 0.99).float().mean() > 0.25
    assert (peaks < 0.9).float().mean() > 0.1
    one_hot = until_kept(session("zskd", iterations=1, chunk=1, batch=40, labels="one-hot")).inversion.targets
    assert torch.equal(one_hot.sum(0), torch.full((CLASSES,), 40 / CLASSES))
    assert set(one_hot.unique().tolist()) == {0.0, 1.0}


def test_zskd_asks_for_a_head_only_where_it_reads_it() -> None:
    cls = find_method("zskd")
    soft, hard = (cls.requires(method_config("zskd", "default", {"labels": name})) for name in ("dirichlet", "one-hot"))
    assert soft.head
    assert soft.access is Access.WEIGHTS
    assert not hard.head
    assert hard.access is Access.GRADIENTS
    assert not soft.batch_norm
    one = session("zskd", Teacher.from_module(Plain(), make_task()), labels="one-hot", iterations=2, chunk=2)
    one.advance(3)
    assert one.context.progress.steps == 2
