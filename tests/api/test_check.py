"""What `check` and `auto` say is what `distill` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from real_life import TASK, TEACHERS, Head, flattened, seen
from torch import nn

import sansdata
from sansdata.datasets.labelled import KindSet
from sansdata.engine.prepare import choose
from sansdata.errors import MethodError, TeacherError
from sansdata.methods.index import METHODS
from sansdata.settings import RunSettings

NAMES = ["GroupNorm", "BatchNorm that runs twice", "only scores", "FrozenBatchNorm", "transformer of patches"]


@pytest.mark.parametrize("name", NAMES)
def test_one_question_is_asked_by_check_and_by_a_run(name: str) -> None:
    teacher = sansdata.Teacher.from_module(seen(TEACHERS[name].make()), TASK)
    verdict = sansdata.check(teacher)
    for method in METHODS:
        try:
            choose(RunSettings(method=method), teacher, on_cpu=True)
            reasons = ""
        except MethodError as fault:
            reasons = str(fault)
        assert bool(verdict["methods"][method]) == bool(reasons), method
        assert all(reason in reasons for reason in verdict["methods"][method])
    assert choose(RunSettings(), teacher, on_cpu=True).why == verdict["auto"]


def test_auto_with_helpers_takes_what_all_of_them_can() -> None:
    teacher, helper = (sansdata.Teacher.from_module(seen(Head(norm)), TASK) for norm in (None, nn.GroupNorm(2, 4)))
    both = teacher.helped_by([helper])
    chosen = choose(RunSettings(), both, on_cpu=True)
    assert chosen.settings.method == "mixmix"
    assert chosen.config.bn == 0
    assert sansdata.check(both)["auto"] == chosen.why
    blind = sansdata.Teacher.from_module(seen(TEACHERS["only scores"].make()), TASK)
    said = sansdata.check(teacher.helped_by([blind]))
    with pytest.raises(MethodError) as refusal:
        choose(RunSettings(), teacher.helped_by([blind]), on_cpu=True)
    assert said["auto"] == f"none: {refusal.value}"


def test_what_a_maker_allows_is_asked_by_check_auto_and_a_run() -> None:
    teacher = sansdata.Teacher.from_module(seen(Head()), TASK)
    assert choose(RunSettings(), teacher, on_cpu=True).settings.method == "fm"
    teacher.allowed_methods = ("dafl",)
    verdict = sansdata.check(teacher)
    assert "allows dafl alone" in verdict["methods"]["fm"][0]
    assert verdict["methods"]["dafl"] == []
    chosen = choose(RunSettings(), teacher, on_cpu=True)
    assert chosen.settings.method == "dafl"
    assert verdict["auto"] == chosen.why
    with pytest.raises(MethodError, match=r"'fm' cannot work .*allows dafl alone"):
        choose(RunSettings(method="fm"), teacher, on_cpu=True)
    both = sansdata.Teacher.from_module(seen(Head()), TASK).helped_by([teacher])
    assert "none: " in sansdata.check(both)["auto"]


@pytest.mark.parametrize("verb", ["check", "distill", "evaluate"])
def test_what_is_no_teacher_is_one_clear_error(verb: str, tmp_path: Path) -> None:
    def ask(teacher: Any, task: Any = None) -> None:
        if verb == "check":
            sansdata.check(teacher, task)
        elif verb == "distill":
            sansdata.distill(teacher, "resnet8", "noise", "1steps", tmp_path / "run", task=task)
        else:
            labelled = KindSet(TASK, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), np.zeros(2, int), (), "x")
            sansdata.evaluate(seen(Head()), labelled, TASK, teacher)

    with pytest.raises(TeacherError, match=r"got Head\. .*Teacher\.from_module"):
        ask(seen(Head()), TASK)
    with pytest.raises(TeacherError, match=r"none\.safetensors"):  # a path is a SPEC
        ask(tmp_path / "none.safetensors", TASK)


def test_a_task_beside_a_teacher_is_its_own() -> None:
    teacher = sansdata.Teacher.from_module(seen(Head()), TASK)
    sansdata.check(teacher, TASK)
    for other in ("digits", TASK.model_copy(update={"mean": (0.1,) * 3})):
        for ask in (sansdata.check, lambda one, task: sansdata.distill(one, "resnet8", task=task)):
            with pytest.raises(TeacherError, match="a Teacher has its own"):
                ask(teacher, other)


def test_the_teacher_and_the_student_of_the_caller_stay_as_they_are() -> None:
    teacher = sansdata.Teacher.from_module(seen(Head()), TASK)
    student = Head(change=flattened)
    modules = (teacher.module, student)
    strides = [[value.stride() for value in module.parameters()] for module in modules]
    runtime = teacher.runtime
    verdict = sansdata.check(teacher, student=student)
    assert "in which the student fails" in verdict["notes"][0]
    assert [[value.stride() for value in module.parameters()] for module in modules] == strides
    assert teacher.runtime is runtime
    student(torch.zeros(2, 3, 8, 8))


def test_several_outputs_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    row = TEACHERS["features and logits"]
    teacher = sansdata.Teacher.from_module(seen(row.make()), TASK)
    assert sansdata.check(teacher)["answers"] == "'1' of 2 outputs that are tensors"
    sansdata.distill(
        teacher, Head(), "noise", "1steps", tmp_path / "run", options={"transfer": {"batch": 4}},
        settings={"engine": {"snapshots": 1, "sample_grids": 0, "images": 0}, "threads": 1},
    )  # fmt: skip
    assert "the teacher's answers are '1' of 2" in (tmp_path / "run" / "events.log").read_text()
