"""CMI: what a round throws away, what it keeps, and which features are told apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import Plain, make_student, make_task, make_teacher

from sansdata.engine.session import Session
from sansdata.errors import TeacherError
from sansdata.methods.cmi import CMI
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher
from sansdata.teachers.preflight import unmet

OPTIONS = {
    "iterations": 4, "chunk": 4, "latent": 6, "width": 4, "batch": 8, "head": 5, "bank": 20, "negatives": 7,
    "steps_per_round": 2, "pool": 40, "transfer": {"batch": 8},
}  # fmt: skip


def session(teacher: Teacher | None = None, **more: Any) -> Session:
    config = method_config("cmi", "default", OPTIONS | more)
    return Session(CMI, config, teacher or make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def method(one: Session) -> CMI:
    assert isinstance(one.method, CMI)
    return one.method


def test_each_round_has_a_generator_and_latents_of_its_own() -> None:
    one = session(generator_lr=1e-12)  # what is trained stays what was drawn
    cmi, drawn = method(one), []
    for _ in range(2):
        one.move()
        drawn.append([cmi.generator.conv1.weight.detach().clone(), cmi.codes["z"].detach().clone()])
        one.advance(2)
    for first, second in zip(*drawn):
        assert not (first == second).any()
    assert abs(drawn[0][0].std() - 0.02) < 0.003
    assert abs(drawn[0][1].std() - 1) < 0.3


def test_the_head_outlives_its_rounds_and_the_latents_are_trained() -> None:
    one = session()
    cmi = method(one)
    one.move()
    head, start = cmi.head[0].weight.detach().clone(), session(generator_lr=1e-12)
    start.move()
    moved = (cmi.codes["z"] - method(start).codes["z"]).abs()
    assert 0 < moved.mean() <= 4 * 1e-3 * 1.01  # four steps of Adam
    one.advance(2)
    assert torch.equal(cmi.head[0].weight, head)
    one.move()
    assert 0 < (cmi.head[0].weight - head).abs().max() <= 4 * 1e-3 * 4


def test_the_bank_keeps_the_features_of_the_images_that_the_pool_keeps() -> None:
    """Both views' spatial means over what enters every BatchNorm."""
    one = session(view="none")
    one.move()
    cmi = method(one)
    teacher = one.context.teacher
    assert cmi.pool.inputs is not None
    taps = [f"{path}:input" for path in teacher.inside.batch_norms]
    maps = teacher(cmi.pool.inputs[:8].float() / 255, taps).taps
    whole = torch.cat([maps[tap].mean((2, 3)) for tap in taps], dim=1)
    kept = cmi.bank.rows[:8]
    assert kept.shape == (8, 2 * whole.shape[1])
    assert len(cmi.bank) == 8
    off = (kept[:, whole.shape[1] :] - whole).abs().mean() / whole.abs().mean()
    assert off < 0.02  # the pool rounds to 8 bits
    other = (kept[:, : whole.shape[1]] - whole).abs().mean() / whole.abs().mean()
    assert other > 2 * off  # a local view is another picture


def test_the_student_is_asked_in_eval_mode_and_the_teacher_twice() -> None:
    one = session()
    modes = []
    handle = one.student.register_forward_hook(lambda part, *_: modes.append(part.training))
    one.move()
    handle.remove()
    assert modes == [False] * 4
    assert one.context.counters["teacher_forwards"] == 2 * 4 * 8
    assert one.context.counters["samples"] == 8


def test_without_contrast_there_is_no_second_view_and_no_bank() -> None:
    one = session(contrastive=0.0)
    one.advance(4)
    assert one.context.counters["teacher_forwards"] == (2 * 4 + 2) * 8
    assert not {"bank", "head", "head_optimizer"} & set(method(one).state())


def test_contrast_alone_trains_generator_latents_and_head() -> None:
    """Its gradient goes through the local view to the images; with nothing else asked of them."""
    one = session(ce=0.0, bn=0.0, adversarial=0.0)
    cmi = method(one)
    _, losses = one.move()
    assert set(losses.terms) == {"contrastive"}
    for optimizer in (cmi.optimizer, cmi.head_optimizer):
        moments = [state["exp_avg_sq"] for state in optimizer.state.values()]
        assert moments
        assert all(moment.any() for moment in moments)


def test_layers_may_be_named_also_where_there_is_no_batch_norm() -> None:
    one = session(feature_layers=("layer1", "layer3"))
    one.move()
    assert method(one).bank.rows.shape[1] == 2 * (16 + 64)
    plain = Teacher.from_module(Plain(), make_task())
    config = method_config("cmi", "default", {"bn": 0.0, "feature_layers": ["body.0"]})
    assert not unmet(CMI.requires(config), plain)
    one = session(plain, bn=0.0, feature_layers=("body.0",))
    one.advance(3)
    assert method(one).bank.rows.shape[1] == 2 * 8
    assert unmet(CMI.requires(method_config("cmi", "default", {"bn": 0.0})), plain)
    assert not unmet(CMI.requires(method_config("cmi", "default", {"bn": 0.0, "contrastive": 0.0})), plain)


def test_a_layer_that_is_not_there_is_named_before_the_first_step() -> None:
    with pytest.raises(TeacherError, match="no part named 'layer9'"):
        session(feature_layers=("layer9",))
