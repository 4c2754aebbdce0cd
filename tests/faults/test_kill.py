"""kill -9 at any moment: what was saved is never lost, a restart always works, nothing half-written stays."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
from cases import CASES
from processes import Job, distil, nursery
from tiny import Tiny, differing, student_of

from sansdata.engine.checkpoint import find_fault

STEPS = 60
EAGER = {"snapshots": 6, "sample_grids": 3, "log_every": 1, "checkpoint_seconds": 1e-6}
"""Saves after every move: most kills fall into a save."""


def newest_position(out: Path) -> int:
    """Moves in the newest whole checkpoint; -1 without any."""
    moves = [-1]
    for path in (out / "checkpoints").glob("step-*"):
        if find_fault(path) is None:
            moves.append(json.loads((path / "rank-0.json").read_text())["state"]["position"]["moves"])
    return max(moves)


def saved(out: Path) -> str:
    latest = out / "checkpoints" / "LATEST"
    return latest.read_text() if latest.exists() else ""


def kill_somewhere(job: Job, out: Path, draw: random.Random) -> None:
    """In the start, or so many saves and then so many milliseconds later."""
    if draw.random() < 0.2:
        time.sleep(draw.uniform(0, 0.4))
    else:
        for _ in range(draw.randint(1, 4)):
            before = saved(out)
            job.wait_until(lambda before=before: saved(out) != before)
        time.sleep(draw.uniform(0, 0.04))
    job.signal(signal.SIGKILL)
    job.wait()


def kill_often(tiny: Tiny, folder: Path, method: str, kills: int, seed: int) -> int:
    """Kills a run and its continuations `kills` times, beginning anew when one is through; gives how often it was."""
    settings = tiny.settings(method, CASES[method].options, budget=f"{STEPS}steps", engine=EAGER)
    config = tiny.config(settings, folder=folder)
    whole = folder / "whole"
    assert distil(config, whole, before=[("no_report",)]).code == 0
    expected = student_of(whole)
    draw, runs, done = random.Random(seed), 0, 0
    out = folder / "run-0"
    while done < kills or (out / "student.safetensors").exists() is False:
        reached = newest_position(out)
        job = nursery().start(
            ["distill", "--config", config, "--out", out, "--resume"], folder, [("no_report",)]
        )  # fmt: skip
        if done < kills:
            kill_somewhere(job, out, draw)
        else:
            job.wait()
        done += job.code == -signal.SIGKILL
        assert job.code in (0, -signal.SIGKILL), job.output
        assert newest_position(out) >= reached, "a saved checkpoint was lost"
        if (name := saved(out)) and job.code != 0:
            assert find_fault(out / "checkpoints" / name) is None, "LATEST names a torn checkpoint"
        if job.code == 0:
            assert differing(student_of(out), expected) == []
            left = list(out.rglob(".tmp-*"))
            assert left == []
            runs += 1
            if done < kills:
                out = folder / f"run-{runs}"
    return runs


def test_twenty_kills_lose_nothing(tiny: Tiny, tmp_path: Path) -> None:
    """The continued run ends bitwise where the uninterrupted one does."""
    assert kill_often(tiny, tmp_path, "fm", kills=20, seed=1) >= 1


@pytest.mark.long
@pytest.mark.parametrize("method", sorted(CASES))
def test_two_hundred_kills_lose_nothing(method: str, tiny: Tiny, tmp_path: Path) -> None:
    """200 over the four methods that the table began with."""
    assert kill_often(tiny, tmp_path, method, kills=50, seed=2) >= 1
