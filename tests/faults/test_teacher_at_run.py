"""Teachers that pass the preflight and go wrong in the middle of a run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cases import CASES
from processes import distil, nursery
from tiny import Tiny, differing, student_of

from sansdata.engine.checkpoint import find_fault

QUIET = ("no_report",)
EAGER = {"snapshots": 2, "sample_grids": 1, "log_every": 1, "checkpoint_seconds": 1e-6}


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny.settings("dafl", CASES["dafl"].options, engine=EAGER)
    return tiny.config(settings, folder=tmp_path_factory.mktemp("teachers"))


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    assert distil(config, config.parent / "whole", before=[QUIET]).code == 0
    return config.parent / "whole"


def status(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())["status"]


def assert_continues(config: Path, out: Path, whole: Path) -> None:
    """Once the teacher is mended."""
    assert all(find_fault(path) is None for path in (out / "checkpoints").glob("step-*"))
    job = distil(config, out, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert differing(student_of(out), student_of(whole)) == []


def test_a_teacher_that_raises(config: Path, whole: Path, tmp_path: Path) -> None:
    """The command fails with the teacher's own words, and they are in the run's log."""
    out = tmp_path / "run"
    job = distil(config, out, before=[QUIET, ("teacher_raises", 4)])
    assert job.code == 1
    assert "the teacher's own code broke" in job.output
    assert status(out) == "failed"
    assert "the teacher's own code broke" in (out / "events.log").read_text()
    assert_continues(config, out, whole)


def test_a_teacher_that_answers_nan(config: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = distil(config, out, before=[QUIET, ("nan_in_teacher", 4)])
    assert job.code == 1
    assert "DivergedError" in job.output
    assert "Traceback" not in job.output
    assert status(out) == "failed"
    assert_continues(config, out, whole)


def test_a_teacher_that_changes_itself(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = distil(config, out, before=[QUIET, ("teacher_changes_itself", 4)])
    assert job.code == 1
    assert "the teacher changed during the run" in job.output
    assert "Traceback" not in job.output
    assert status(out) == "failed"
    assert not (out / "student.safetensors").exists()


def test_a_slow_teacher_can_be_stopped(config: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = ["distill", "--config", config, "--out", out]
    job = nursery().start(argv, tmp_path, [QUIET, ("teacher_is_slow", 0.5, 1)])
    job.wait_until(lambda: (out / "checkpoints" / "LATEST").exists())
    job.signal(signal.SIGTERM)
    assert job.wait(30) == 75, job.output
    assert_continues(config, out, whole)


def test_a_budget_that_is_spent_before_the_first_step_keeps_what_was_made(tiny: Tiny, tmp_path: Path) -> None:
    """Planned by cheap moves that turn out dear: it ends, is kept, and says how much would do."""
    settings = tiny.settings("fm", CASES["fm"].options, budget="500queries", engine=EAGER)
    config, out = tiny.config(settings, folder=tmp_path), tmp_path / "run"
    job = distil(config, out, before=[QUIET, ("dear_moves", 10_000)])
    assert job.code == 1, job.output
    for words in ("BudgetSpent", "before the first student step", "queries would do", "Saved: step-", "--resume"):
        assert words in job.output
    assert status(out) == "interrupted"
    again = distil(config, out, "--resume", "--force", "--budget", "10500queries", before=[QUIET])
    assert again.code == 0, again.output


def test_a_teacher_that_becomes_slow_ends_within_the_budget(tiny: Tiny, tmp_path: Path) -> None:
    """Measured at full speed, then 0.2 s a pass: the time is a cap, and the run says that it was cut."""
    settings = tiny.settings("dafl", CASES["dafl"].options, budget="2s")
    job = distil(tiny.config(settings, folder=tmp_path), tmp_path / "run", before=[QUIET, ("teacher_is_slow", 0.2, 3)])
    assert job.code == 0, job.output
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["seconds"] < 2 + 1
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert manifest["status"] == "truncated" or plan["replans"]
