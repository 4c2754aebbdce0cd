"""What a caller has set for torch reaches into no verb, and is set as before afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Tiny, differing, make_module, make_student, make_task
from torch import nn

import sansdata
from sansdata.models.modes import usual_modes

Modes = Callable[[], AbstractContextManager[Any]]

MODES: dict[str, Modes] = {
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "another device": lambda: torch.device("meta"),
}


def state() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"), torch.get_default_device(), torch.get_default_dtype(),
        torch.get_num_threads(),
    )  # fmt: skip


def distilled(teacher: nn.Module, student: nn.Module, out: Path, **settings: Any) -> sansdata.Result:
    engine = {"snapshots": 1, "sample_grids": 1, "images": 8}
    return sansdata.distill(
        sansdata.Teacher.from_module(teacher, make_task()), student, "noise", "2steps", out,
        options={"transfer": {"batch": 8}},
        settings={"device": "cpu", "precision": "fp32", "engine": engine, **settings},
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> sansdata.Result:
    return distilled(make_module(), make_student(), tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("modes", MODES.values(), ids=MODES)
def test_inside_torch_is_as_it_begins_and_afterwards_as_the_caller_had_it(modes: Modes) -> None:
    usual = (True, False, False, False, torch.device("cpu"), torch.float32, torch.get_num_threads())
    with modes():
        before = state()
        assert before != usual
        with usual_modes():
            assert state() == usual
            torch.set_num_threads(usual[-1] + 1)
        assert state() == before
    assert state() == usual


@pytest.mark.parametrize("modes", MODES.values(), ids=MODES)
def test_a_run_gives_the_same_student_in_any_of_them(modes: Modes, plain: sansdata.Result, tmp_path: Path) -> None:
    teacher, student = make_module(), make_student()
    with modes():
        result = distilled(teacher, student, tmp_path / "run")
        model = result.model
    assert differing(result.student.state_dict(), plain.student.state_dict()) == []
    assert not any(value.is_meta or value.is_inference() for value in model.state_dict().values())
    result.student(torch.rand(2, 1, 8, 8)).sum().backward()


def test_the_threads_of_a_run_are_its_own(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run = distilled(make_module(), make_student(), tmp_path / "run", threads=before + 1)
    assert json.loads((run.run_dir / "run.json").read_text())["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_modules_that_were_made_in_inference_mode_can_be_asked_taught_and_filled(
    plain: sansdata.Result, tiny: Tiny, tmp_path: Path
) -> None:
    known = sansdata.evaluate(make_module(), tiny.data, task=tiny.task).accuracy
    with torch.inference_mode():
        module, student = make_module(), make_student()
        assert sansdata.evaluate(module, tiny.data, task=tiny.task).accuracy == known
        result = distilled(module, student, tmp_path / "run")
        filled = sansdata.load(plain.run_dir, student).student
    assert sansdata.evaluate(module, tiny.data, task=tiny.task).accuracy == known
    for several in (result.student, filled):
        assert differing(several.state_dict(), plain.student.state_dict()) == []
