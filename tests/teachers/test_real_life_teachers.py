"""Whatever people bring as a teacher or a student makes one move of the engine, or is refused with a mend; and `check`
says which of the two it will be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from real_life import FLOAT, PLAIN, STUDENTS, TASK, TEACHERS, Head, Row, seen
from torch import nn
from torch.nn.parameter import UninitializedParameter

import sansdata
from sansdata.errors import UserError
from sansdata.models.copying import unwrapped
from sansdata.runtime import resolve_precision

ENGINE = {"snapshots": 1, "sample_grids": 0, "log_every": 1, "images": 0}
OPTIONS = {"transfer": {"batch": 4}}
BF16 = resolve_precision("auto", "cpu") == "bf16"


def student() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))


def distilled(teacher: nn.Module, student: nn.Module, task: Any, out: Path) -> sansdata.Result:
    source = sansdata.Teacher.from_module(teacher, task)
    return sansdata.distill(
        source, student, "noise", "1steps", out, options=OPTIONS, settings={"engine": ENGINE, "threads": 1}
    )


def checked(teacher: nn.Module, student: nn.Module, task: Any) -> tuple[list[str], dict[str, Any]]:
    """(faults, the whole verdict), whether it was said or raised."""
    try:
        verdict = sansdata.check(sansdata.Teacher.from_module(teacher, task), task, student)
    except UserError as fault:
        return [str(fault)], {}
    return verdict["faults"], verdict


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansdata.api.distill.write_report", lambda directory: directory)


def assert_one_verdict(row: Row, teacher: nn.Module, student: nn.Module, out: Path) -> dict[str, Any] | None:
    """`check` and `distill` say the same. Gives the verdict where the run was made."""
    faults, verdict = checked(teacher, student, row.job)
    if row.refused:
        assert len(faults) == 1
        assert row.refused in faults[0]
        with pytest.raises(UserError) as refusal:
            distilled(teacher, student, row.job, out)
        assert row.refused in str(refusal.value)
        assert not out.exists()
        return None
    assert faults == []
    assert verdict["methods"]["noise"] == []
    distilled(teacher, student, row.job, out)
    assert json.loads((out / "run.json").read_text())["status"] == "done"
    said = [line for line in verdict["notes"] if line.startswith("networks are run")]
    left_off = [part for part in PLAIN + FLOAT if part in "".join(said)]
    assert left_off == [part for part in row.left_off if BF16 or part in PLAIN], said
    for line in said:
        assert line in (out / "events.log").read_text()
    return verdict


def made(row: Row) -> nn.Module:
    module = row.make()
    fixed = any(not isinstance(p, UninitializedParameter) and p.is_inference() for p in module.parameters())
    return (
        module if fixed or row.refused or any(p.dtype != torch.float32 for p in module.parameters()) else seen(module)
    )


def test_there_are_enough() -> None:
    assert len(TEACHERS) >= 20
    assert len(STUDENTS) >= 15


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_of_real_life(name: str, tmp_path: Path) -> None:
    row = TEACHERS[name]
    verdict = assert_one_verdict(row, made(row), student(), tmp_path / "run")
    if verdict is None:
        return
    if row.norms is not None:
        assert verdict["batch_norms"] == row.norms
        assert (verdict["methods"]["fm"] == []) == (row.norms > 0)
    assert row.auto in verdict["auto"]
    chosen = verdict["auto"].rpartition(": ")[2] if ";" not in verdict["auto"] else verdict["auto"].split(": ")[1]
    assert verdict["methods"][chosen.partition(";")[0]] == [] or "=0" in verdict["auto"]
    assert row.warned in "; ".join(verdict["warnings"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_of_real_life(name: str, tmp_path: Path) -> None:
    row = STUDENTS[name]
    given = row.make()
    verdict = assert_one_verdict(row, seen(Head()), given, tmp_path / "run")
    if verdict is None:
        return
    again = sansdata.load(tmp_path / "run", student=row.make())
    images = torch.rand(3, 3, 8, 8)
    assert again.model(images).shape == (3, 4)
    assert all(value.dtype == torch.float32 for value in again.student.parameters()) or name in ("half", "double")
    assert unwrapped(given) is not again.student


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["FrozenBatchNorm", "tracked InstanceNorm", "BatchNorm1d", "BatchNorm3d", "BatchNorm called by name"]
)
def test_statistics_of_any_kind_are_matched(name: str, tmp_path: Path) -> None:
    """The method that reads them makes its moves."""
    options = {"batch": 4, "k": 2, "warmup_rounds": 0, "steps_per_round": 1, "transfer": {"batch": 4}, "width": 8}
    source = sansdata.Teacher.from_module(seen(TEACHERS[name].make()), TASK)
    sansdata.distill(
        source, student(), "fm", "1steps", tmp_path / "run", options=options, settings={"engine": ENGINE, "threads": 1}
    )
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["losses"]["acquire/bn"] > 0
