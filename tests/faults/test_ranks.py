"""Two processes of one run, and one of them is gone or frozen: the other ends with a sentence, and the run goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cases import CASES
from processes import Job, nursery, start_pair
from tiny import Tiny

EAGER = "engine.checkpoint_seconds=1e-6"


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.config(tiny.settings("noise", CASES["noise"].options), folder=tmp_path_factory.mktemp("ranks"))


def pair_at_work(config: Path, out: Path, patience: float) -> list[Job]:
    pair = start_pair(config, out, EAGER, before=[("slow_moves", 0.2), ("impatient", patience)])
    pair[0].wait_until(lambda: (out / "checkpoints" / "LATEST").exists())
    return pair


def assert_left(job: Job, out: Path, code: int, words: str) -> None:
    assert job.wait(60) == code, job.output
    assert words in job.output
    assert "--resume" in job.output
    assert "Traceback" not in job.output
    assert json.loads((out / "run.json").read_text())["status"] == ("interrupted" if code == 75 else "failed")


@pytest.mark.parametrize(
    ("variables", "code"), [({"RANK": "1"}, 0), ({"RANK": "", "WORLD_SIZE": ""}, 0), ({"WORLD_SIZE": "-2"}, 2)]
)
def test_one_process_does_its_run_whatever_rank_its_environment_names(
    variables: dict[str, str], code: int, config: Path, tmp_path: Path
) -> None:
    argv = ["distill", "--config", config, "--out", tmp_path / "run"]
    job = nursery().start(argv, tmp_path, [("no_report",)], variables)
    assert job.wait() == code, job.output
    assert ("agreement" if code == 0 else "error: WORLD_SIZE is '-2'") in job.output
    assert (tmp_path / "run" / "student.safetensors").is_file() == (tmp_path / "run").exists() == (code == 0)


def test_a_signal_is_heard_while_the_other_is_frozen(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pair = pair_at_work(config, out, 1.0)
    pair[1].signal(signal.SIGSTOP)
    pair[0].signal(signal.SIGTERM)
    try:
        assert_left(pair[0], out, 75, "has not answered")
    finally:
        pair[1].signal(signal.SIGKILL)
        pair[1].wait()
    again = start_pair(config, out, "--resume")
    assert [job.wait() for job in again] == [0, 0], again[0].output + again[1].output


@pytest.mark.long
def test_a_frozen_process_is_waited_for_and_then_named(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pair = pair_at_work(config, out, 2.0)
    pair[1].signal(signal.SIGSTOP)
    try:
        assert_left(pair[0], out, 1, "has not answered")
    finally:
        pair[1].signal(signal.SIGKILL)
        pair[1].wait()


@pytest.mark.long
def test_a_killed_process_is_named(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pair = pair_at_work(config, out, 60.0)
    pair[1].signal(signal.SIGKILL)
    assert_left(pair[0], out, 1, "has ended")
    pair[1].wait()
