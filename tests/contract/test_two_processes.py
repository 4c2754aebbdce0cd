"""Two processes under torchrun on one run: equal students, exact resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cases import CASES
from processes import TESTS, free_port, nursery, start_pair
from tiny import Tiny, differing, student_of, tensors
from torch import Tensor

from sansdata.engine.encode import decode

QUIET = ("no_report",)
SOON = ("fm", "kd3", "udistil/sounds")
"""A generator with a pool, a scan, sounds made once; the others are long, since two processes make each three times."""


def parameters(out: Path, rank: int) -> dict[str, Tensor]:
    """The student's parameters in the last checkpoint of a rank; BatchNorm's statistics are each rank's own."""
    last = sorted((out / "checkpoints").glob("step-*"))[-1]
    tree = json.loads((last / f"rank-{rank}.json").read_text())["state"]["student"]
    found = decode(tree, tensors(last / f"rank-{rank}.safetensors"), torch.device("cpu"))
    return {name: value for name, value in found.items() if "running" not in name and "num_batches" not in name}


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    """The real launcher, with a time limit on the whole."""
    out = config.parent / "whole"
    argv = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
            "-m", "sansdata", "distill", "--config", str(config), "--out", str(out)]  # fmt: skip
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, env=environment, cwd=TESTS, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_both_hold_the_same_student(whole: Path) -> None:
    """And learnt from images of their own."""
    assert json.loads((whole / "run.json").read_text())["world"] == 2
    mine, other = parameters(whole, 0), parameters(whole, 1)
    assert len(mine) > 10
    assert differing(mine, other) == []
    final = student_of(whole)
    assert differing({name: value for name, value in final.items() if name in mine}, mine) == []
    last = sorted((whole / "checkpoints").glob("step-*"))[-1]
    pools = [tensors(last / f"rank-{rank}.safetensors")["method.pool.images"] for rank in range(2)]
    assert differing({"pool": pools[0]}, {"pool": pools[1]}) == ["pool"]


def test_cost_is_that_of_both(whole: Path) -> None:
    cost = json.loads((whole / "summary.json").read_text())["cost"]
    steps = json.loads((whole / "summary.json").read_text())["steps"]
    assert cost["student_backwards"] == 2 * 8 * steps + 2 * CASES["fm"].options["k"] * 8 * _warm_rounds(whole)


def test_the_ledger_is_the_sum_over_both(whole: Path) -> None:
    ledger = json.loads((whole / "ledger.json").read_text())
    assert {process["rank"] for process in ledger["processes"]} == {0, 1}
    assert all(process["ended"] and process["mode"] == "strict" for process in ledger["processes"])
    assert ledger["violations"] == []


def _warm_rounds(out: Path) -> int:
    """Rounds in which the adversarial term asked the student: all but those of the warm-up."""
    moves = json.loads((out / "plan.json").read_text())["moves"]
    return moves["acquire"] - CASES["fm"].options["warmup_rounds"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SOON else pytest.mark.long) for name in CASES])
def test_stop_and_resume_are_bitwise(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """A signal to one stops both, in the middle of what the method does over several moves."""
    case = CASES[name]
    config = tiny.config(tiny.settings(name, case.options), folder=tmp_path)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    whole = start_pair(config, straight)
    pair = start_pair(config, stopped, before=[("stop_after_move", case.stops[0])])
    assert [job.wait() for job in whole] == [0, 0], whole[0].output + whole[1].output
    assert [job.wait() for job in pair] == [75, 75], pair[0].output + pair[1].output
    again = start_pair(config, stopped, "--resume")
    assert [job.wait() for job in again] == [0, 0], again[0].output + again[1].output
    assert differing(student_of(stopped), student_of(straight)) == []
    for rank in range(2):
        assert differing(parameters(stopped, rank), parameters(straight, rank)) == []


def test_one_process_cannot_continue_two(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pair = start_pair(config, out, before=[("stop_after_move", 2)])
    assert [job.wait() for job in pair] == [75, 75]
    job = nursery().run(["distill", "--config", config, "--out", out, "--resume"], tmp_path, [QUIET])
    assert job.code == 2, job.output
    assert "world was 2, is 1" in job.output


@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_ends_the_other(killed: int, config: Path, whole: Path, tmp_path: Path) -> None:
    """Within half a minute, and the run can be resumed."""
    out = tmp_path / "run"
    pair = start_pair(config, out, "engine.checkpoint_seconds=1e-6", before=[("slow_moves", 0.2)])
    pair[0].wait_until(lambda: (out / "checkpoints" / "LATEST").exists())
    pair[killed].signal(signal.SIGKILL)
    start = time.monotonic()
    code = pair[1 - killed].wait(30)
    assert code not in (0, None)
    assert time.monotonic() - start < 30
    pair[killed].wait()
    again = start_pair(config, out, "--resume")
    assert [job.wait() for job in again] == [0, 0], again[0].output + again[1].output
    assert differing(student_of(out), student_of(whole)) == []
