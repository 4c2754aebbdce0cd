"""KD3's student and its choice of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Tiny, make_module, make_pool, make_student, make_task, make_teacher
from torch import nn

import sansdata
from sansdata.compress.rebuild import rebuild
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import MethodError, StudentError
from sansdata.methods.index import method_config
from sansdata.methods.kd3 import KD3
from sansdata.methods.kd3.method import Embedding
from sansdata.models.lenet import LeNet5
from sansdata.models.shared_classifier import Ending, ending, share_classifier
from sansdata.models.wide_resnet import WideResNet
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher, fingerprint

OPTIONS: dict[str, Any] = {
    "scan_moves": 3, "steps_per_epoch": 4, "threshold": 0.4, "embedding": 8, "transfer": {"batch": 8},
}  # fmt: skip


def make_session(steps: int = 40, **options: Any) -> Session:
    config = method_config("kd3", "default", {**OPTIONS, **options})
    return Session(KD3, config, make_teacher(), make_student(), make_task(), Runtime(), 7, steps, pool=make_pool())


def until(session: Session, kind: str) -> Any:
    """The losses of the next move of this kind."""
    for _ in range(100):
        made, losses = session.move()
        if made == kind:
            return losses
    raise AssertionError(f"no move '{kind}'")


# -- the student


def test_endings_are_found_by_what_the_head_reads() -> None:
    assert ending(make_module(), (1, 8, 8)) == Ending("layer3", "linear", 64, (2, 2))
    assert ending(LeNet5(1, 10, 1.0), (1, 32, 32)) is None
    wide = ending(WideResNet(16, 1, 3, 10, 16).eval(), (3, 16, 16))
    assert wide == Ending("bn", "fc", 64, (4, 4), rectified=True)


def test_what_is_contrasted_is_what_the_head_reads() -> None:
    stage = torch.randn(3, 64, 4, 4)
    rectified, plain = (Embedding(Ending("bn", "fc", 64, (4, 4), rectified=it), 8) for it in (True, False))
    plain.load_state_dict(rectified.state_dict())
    assert torch.equal(rectified(stage), plain(stage.relu()))
    assert not torch.allclose(rectified(stage), plain(stage))


def test_the_student_answers_through_the_teachers_classifier() -> None:
    session = make_session()
    teacher = session.context.teacher.module
    for name in ("weight", "bias"):
        assert torch.equal(getattr(session.student.linear, name), getattr(teacher.linear, name))
        assert not getattr(session.student.linear, name).requires_grad
    before = fingerprint(teacher)
    session.advance(20)
    assert torch.equal(session.student.linear.weight, teacher.linear.weight)
    assert fingerprint(teacher) == before


def test_a_rectifier_without_a_module_of_its_own_stays_before_the_projector() -> None:
    """A wide ResNet rectifies its last map in its own forward: the projector must read what the classifier read."""
    student = WideResNet(16, 1, 1, 4, 4).eval()
    of = ending(student, (1, 8, 8))
    assert of is not None
    share_classifier(student, of, nn.Linear(8, 4), 2, of.size)
    seen: list[torch.Tensor] = []
    student.bn.projector.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    student(torch.randn(2, 1, 8, 8))
    assert (seen[0] >= 0).all()
    assert (seen[0] > 0).any()


def test_another_classifier_in_its_place_is_chance() -> None:
    """No other path leaks the teacher's labels: with a random frozen head the trained features say nothing."""
    session = make_session(200, select="none", contrast=0.0, view="none", transfer={"batch": 32, "lr": 0.2})
    session.advance(200)
    pool = make_pool()
    images, teacher = pool.at(torch.arange(48)), session.context.teacher
    with torch.no_grad():
        labels = teacher(images).logits.argmax(1)
        session.student.eval()
        own = (session.context.student_outputs(images).logits.argmax(1) == labels).float().mean()
        session.student.linear.weight.copy_(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
        session.student.linear.bias.zero_()
        other = (session.context.student_outputs(images).logits.argmax(1) == labels).float().mean()
    assert own > 0.7
    assert other < 0.5


def test_a_finished_student_is_read_back_with_its_projector(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(tiny.settings("kd3", OPTIONS), out)
    manifest = json.loads((out / "run.json").read_text())["student"]
    result = sansdata.load(out)
    assert manifest["architecture"]["kind"] == "shared-classifier"
    assert manifest["parameters"] == sum(p.numel() for p in result.student.parameters())
    assert type(result.student.layer3).__name__ == "ProjectedStage"
    # as a teacher of its own, by its file
    teacher = sansdata.Teacher.from_module(result.student, result.task)
    assert teacher.inside.head == "linear"
    again = sansdata.evaluate(out, tiny.data)
    assert again.accuracy is not None


def test_a_student_of_the_callers_is_trained_and_described_as_only_his(tmp_path: Path) -> None:
    student = make_student()
    options = OPTIONS | {"select": "once"}
    result = sansdata.distill(
        make_teacher(),
        student,
        "kd3",
        "4steps",
        tmp_path / "run",
        pool=_npz(tmp_path),
        options=options,
        settings={"threads": 1},
    )
    assert type(student.layer3).__name__ == "Sequential"  # the caller's own is left as it was
    assert type(result.student.layer3).__name__ == "ProjectedStage"


def test_a_larger_map_is_averaged_before_it_is_projected_and_stays_so_in_the_file() -> None:
    """As in SimKD: the projector reads maps of the teacher's size, in training and in use."""
    student = WideResNet(16, 1, 1, 4, 4).eval()
    of = ending(student, (1, 16, 16))
    assert of is not None
    assert of.size == (4, 4)
    sizes = share_classifier(student, of, nn.Linear(8, 4), 2, (2, 3))
    seen: list[torch.Tensor] = []
    student.bn.projector.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    answers = student(torch.randn(2, 1, 16, 16))
    assert seen[0].shape == (2, 16, 2, 3)
    own = {"kind": "zoo", "name": "wrn-16-1", "args": {"channels": 1, "classes": 4, "scale": 0.25}}
    assert sizes["pooled"] == [2, 3]
    read = rebuild({"kind": "shared-classifier", "of": own, "classes": 4, **sizes})
    assert read.bn.pooled == (2, 3)  # type: ignore[union-attr]
    assert answers.shape == (2, 4)


def _npz(folder: Path) -> Path:
    import numpy as np

    path = folder / "pool.npz"
    np.savez(path, x=make_pool().images[:, 0].numpy())
    return path


@pytest.mark.parametrize(
    "spoilt",
    [
        {"stage": "nowhere"},
        {"head": ""},
        {"features": 0},
        {"features": 10**9},
        {"factor": "2"},
        {"of": None},
        {"pooled": [0, 2]},
        {"pooled": 3},
    ],
)
def test_a_spoilt_architecture_is_refused(spoilt: dict[str, Any]) -> None:
    whole = {
        "kind": "shared-classifier", "stage": "layer3", "head": "linear", "width": 64, "features": 64, "factor": 2,
        "classes": 10, "of": {"kind": "zoo", "name": "resnet8", "args": {"channels": 1, "classes": 10, "scale": 1.0}},
    }  # fmt: skip
    assert rebuild(whole)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(StudentError):
        rebuild(whole | spoilt)


def test_networks_without_average_pooling_are_refused_with_the_mend() -> None:
    task = make_task((1, 32, 32))
    teacher = Teacher.from_module(LeNet5(1, 4, 1.0), task)
    with pytest.raises(MethodError, match="the teacher ends in another way; take a ResNet"):
        Session(
            KD3, method_config("kd3", "default", OPTIONS), teacher, make_student(), task, Runtime(), pool=make_pool()
        )


# -- the choice


def test_what_is_kept_follows_the_mixture_of_both_networks() -> None:
    session = make_session(threshold=0.6)
    until(session, "select")
    while session.method.next_move() == "select":
        losses = session.move()[1]
    method: Any = session.method
    from sansdata.methods.kd3.choice import confident, teachers_share

    alpha = teachers_share(0, 10)
    assert 0.9 < alpha < 1
    mixed = alpha * method.teachers.logits + (1 - alpha) * method.students.logits
    passes = confident(mixed.softmax(1), 0.6)
    assert method.schedule["ids"].tolist() == passes.nonzero()[:, 0].tolist()
    assert losses.values()["kept_share"].item() == pytest.approx(passes.float().mean().item())
    direct = session.context.teacher(make_pool().at(torch.arange(48))).logits
    assert torch.allclose(method.teachers.logits, direct, atol=1e-4)


def test_batches_hold_only_kept_images() -> None:
    session = make_session(threshold=0.6, view="none")
    until(session, "transfer")
    method: Any = session.method
    assert session.last_batch is not None
    chosen = make_pool().at(method.schedule["ids"])
    assert all(any(torch.equal(one, other) for other in chosen) for one in session.last_batch.images)
    assert len(method.schedule["ids"]) < 48


def test_where_nothing_passes_a_batch_of_the_surest_is_kept() -> None:
    session = make_session(threshold=0.999, floor=0.999)
    until(session, "transfer")
    method: Any = session.method
    assert len(method.schedule["ids"]) == 8


def test_selection_once_and_never() -> None:
    once = make_session(select="once")
    kinds = [once.move()[0] for _ in range(12)]
    assert kinds == ["score"] * 3 + ["transfer"] * 9
    never = make_session(select="none")
    assert never.move()[0] == "transfer"
    method: Any = never.method
    assert len(method.schedule["ids"]) == 48


# -- the loss


def test_contrast_reaches_the_student_and_features_are_weighted() -> None:
    session = make_session(contrast=1.0)
    losses = until(session, "transfer").terms
    assert losses["features"][1].shape == (8,)
    off = make_session(contrast=1.0, weighted=False)
    plain = until(off, "transfer").terms["features"][1]
    ratio = losses["features"][1].detach() / plain.detach()
    assert ((ratio >= 0.5) & (ratio <= 1)).all()
    assert ratio.max() > 0.5001
    session.trained.zero_grad()
    assert session.last_batch is not None
    found = session.method.student_loss(session.student_forward, session.last_batch)
    gradient = torch.autograd.grad(found.terms["contrast"][1].mean(), session.student.conv1.weight)[0]
    assert gradient.abs().sum() > 0
