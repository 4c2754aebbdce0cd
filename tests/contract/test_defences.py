"""What every pair of a method and a defence keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import CASES, ONE_SHAPE, rows
from processes import distil
from tiny import (
    Plain,
    Tiny,
    differing,
    make_pool,
    make_student,
    make_task,
    make_teacher,
    needs_pool,
    student_of,
    tensors,
)
from torch import nn

from sansdata.contracts import Losses
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import MethodError
from sansdata.methods.dafl import DAFL
from sansdata.methods.index import find_method, method_config
from sansdata.models.modes import fixed
from sansdata.runtime import Runtime
from sansdata.settings import RetrospectSettings, RunSettings, VaccineSettings
from sansdata.teachers.base import Teacher, fingerprint

LATE = RetrospectSettings(share=0.5, rounds=2, marked=0.5)
every_method = pytest.mark.parametrize("name", rows(ONE_SHAPE))


def make_session(name: str, vaccine: bool = True, retrospect: bool = True, **how: Any) -> Session:
    config = method_config(name, "default", CASES[name].options)
    teacher, runtime = how.pop("teacher", None) or make_teacher(), how.pop("runtime", None) or Runtime()
    parts = {"vaccine": VaccineSettings(**how)} if vaccine else {}
    return Session(
        find_method(name), config, teacher, make_student(), make_task(), runtime, 7, 8,
        parts | ({"retrospect": LATE} if retrospect else {}), make_pool() if needs_pool(name) else None,
    )  # fmt: skip


def to_identity(session: Session) -> None:
    """A shuffle that changes nothing, so that every sample is suspicious."""
    copies = session.defence.copies  # type: ignore[union-attr]
    copies.load_state_dict({"orders": [[torch.arange(len(order)) for order in own] for own in copies.orders]})


def first_losses(session: Session) -> dict[str, Losses]:
    seen: dict[str, Losses] = {}
    for _ in range(8):
        kind, losses = session.move()
        seen.setdefault(kind, losses)
    return seen


@every_method
def test_no_method_forgets_the_vaccine(name: str) -> None:
    """Where gradients reach the inputs, the term is in the acquire loss; where none do, it is in the student's."""
    session = make_session(name, retrospect=False)
    seen = first_losses(session)
    counters = session.context.counters
    assert counters["vaccine_judged"] > 0
    assert session.moves_inputs == (counters["teacher_backwards"] > 0)
    if session.moves_inputs:
        assert any("vaccine" in losses.terms for kind, losses in seen.items() if kind != "transfer")
        assert counters["vaccine_backwards"] > 0
        return
    assert session.last_batch is not None
    forward = session.student_forward
    with torch.no_grad(), fixed(session.student, train=True):
        plain = session._aligned(forward, session.last_batch).total()
        assert not torch.equal(plain, session._loss(forward, session.last_batch).total())
        to_identity(session)
        assert session._loss(forward, session.last_batch).total() == 0  # nothing is trusted


@every_method
def test_every_method_is_taught_to_the_end_with_the_whole_defence(name: str) -> None:
    teacher = make_teacher()
    before = fingerprint(teacher.module)
    session = make_session(name, teacher=teacher)
    start = {key: value.clone() for key, value in session.student.state_dict().items()}
    terms = []
    while session.context.progress.steps < 8:
        kind, losses = session.move()
        if kind == "transfer":
            terms.append("retrospect" in losses.terms)
    after = session.student.state_dict()
    assert terms == [False] * 4 + [True] * 4
    assert all(torch.isfinite(value).all() for value in after.values())
    still = tuple(key for key, value in after.items() if torch.equal(value, start[key]))
    assert still == CASES[name].frozen, "not trained"
    assert fingerprint(teacher.module) == before
    assert all(p.grad is None for p in [*teacher.module.parameters(), *session.student.parameters()])


def test_the_defence_changes_nothing_before_it_is_on() -> None:
    bare = make_session("dfad", vaccine=False, retrospect=False)
    late, watching = make_session("dfad", vaccine=False), make_session("dfad", retrospect=False, verify=6, skip=0)
    same = {"retrospect": [], "vaccine": []}
    for step in range(1, 9):
        for session in (bare, late, watching):
            while session.context.progress.steps < step:
                session.move()
        for key, session in (("retrospect", late), ("vaccine", watching)):
            same[key].append(differing(dict(bare.student.state_dict()), dict(session.student.state_dict())) == [])
    assert same["retrospect"] == [True] * 4 + [False] * 4
    assert all(same["vaccine"][:6])


class Forgetful(DAFL):
    """Builds its loss on its own."""

    def acquire(self) -> Losses:
        losses = Losses()
        images = self.generator(torch.randn(8, self.config.latent))
        outputs = self.context.teacher(images)
        losses.add("one_hot", 1, lambda: outputs.logits.square().mean())
        losses.total().backward()
        return losses


def test_a_method_that_forgets_is_stopped() -> None:
    config = method_config("dafl", "default", CASES["dafl"].options)
    session = Session(
        Forgetful, config, make_teacher(), make_student(), make_task(), Runtime(), parts={"vaccine": VaccineSettings()}
    )
    with pytest.raises(MethodError, match=r"Forgetful\.acquire.*acquire_losses"):
        session.move()


def test_reduced_precision() -> None:
    session = make_session("dfad", runtime=Runtime("cpu", "bf16"))
    session.advance(9)
    assert all(torch.isfinite(value).all() for value in session.student.state_dict().values())


@pytest.mark.parametrize(
    ("name", "tail", "stops"),
    [("dafl", 0.99, (13,)), pytest.param("noise", 0.001, (2, 6), marks=pytest.mark.long)],
)
def test_resume_in_a_new_process_is_bitwise_the_uninterrupted_run(
    name: str, tail: float, stops: tuple[int, ...], tiny: Tiny, tmp_path: Path
) -> None:
    """Stopped while the vaccine is being verified, and while the student looks back."""
    defence = {
        "defence": "abd", "retrospect": LATE.model_dump(),
        "vaccine": {"verify": 4, "skip": 1, "tail": tail, "trials": 3},
    }  # fmt: skip
    settings = RunSettings.model_validate(tiny.settings(name, CASES[name].options).model_dump() | defence)
    config = tiny.config(settings, folder=tmp_path)
    whole = tmp_path / "whole"
    assert distil(config, whole, before=[("no_report",)]).code == 0
    for stop in stops:
        out = tmp_path / f"stopped-{stop}"
        assert distil(config, out, before=[("stop_after_move", stop), ("no_report",)]).code == 75
        kept = tensors(next((out / "checkpoints").glob("step-*/rank-0.safetensors")))
        assert any(key.startswith("defence.copies") for key in kept)
        assert any(key.startswith("update.retrospect") for key in kept) == (stop > 4)
        resumed = distil(config, out, "--resume", before=[("no_report",)])
        assert resumed.code == 0, resumed.output
        assert differing(student_of(whole), student_of(out)) == []


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


@pytest.mark.parametrize("module", [Linear(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())])
def test_a_teacher_that_cannot_be_shuffled_is_refused_before_step_0(
    module: nn.Module, tiny: Tiny, tmp_path: Path
) -> None:
    teacher = Teacher.from_module(module, make_task())
    settings = tiny.settings("noise", CASES["noise"].options, teacher="here", student="here", defence="abd")
    with pytest.raises(MethodError, match=r"defence 'abd'.*convolutions"):
        run(settings, tmp_path / "run", teacher, Plain())
    assert not (tmp_path / "run").exists()
    run(settings.model_copy(update={"defence": "retrospect"}), tmp_path / "run", teacher, Plain())


def test_a_loss_of_one_number_is_refused_before_the_student_moves(tiny: Tiny) -> None:
    session = make_session("noise", retrospect=False)
    session.method.student_loss = lambda student, batch: _one_number(student, batch)  # type: ignore[method-assign]
    start = {key: value.clone() for key, value in session.student.named_parameters()}
    with pytest.raises(MethodError, match="one number for a whole batch"):
        session.move()
    assert differing(start, dict(session.student.named_parameters())) == []


def _one_number(student: Any, batch: Any) -> Losses:
    losses = Losses()
    losses.add("mean", 1, lambda: student(batch.inputs).logits.mean())
    return losses
