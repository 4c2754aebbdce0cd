"""A signal saves the run and leaves with 75; --resume then ends bitwise where the uninterrupted run does."""

from __future__ import annotations

import faulthandler
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import CASES
from processes import distil, nursery
from tiny import Tiny, differing, student_of

from sansdata.engine.checkpoint import find_fault
from sansdata.engine.signals import stop_on_signals

QUIET = ("no_report",)


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.config(tiny.settings("dafl", CASES["dafl"].options), folder=tmp_path_factory.mktemp("signals"))


@pytest.fixture(scope="module")
def finish(config: Path) -> Callable[[Path], None]:
    """Resumes a stopped run and compares it with the uninterrupted one."""
    whole = config.parent / "whole"
    assert distil(config, whole, before=[QUIET]).code == 0

    def check(out: Path) -> None:
        job = distil(config, out, "--resume", before=[QUIET])
        assert job.code == 0, job.output
        assert differing(student_of(out), student_of(whole)) == []
        assert json.loads((out / "run.json").read_text())["status"] == "done"

    return check


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_one_signal(sent: signal.Signals, config: Path, finish: Callable[[Path], None], tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = nursery().start(["distill", "--config", config, "--out", out], tmp_path, [QUIET, ("slow_moves", 0.3)])
    job.wait_until(lambda: (out / "metrics.jsonl").is_file() and (out / "metrics.jsonl").stat().st_size)
    job.signal(sent)
    assert job.wait() == 75, job.output
    assert f"stopped by {sent.name}" in job.output
    assert "--resume" in job.output
    assert "Traceback" not in job.output
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["ended"]
    finish(out)


def test_a_second_signal_leaves_at_once(config: Path, finish: Callable[[Path], None], tmp_path: Path) -> None:
    """The first waits for the end of the move; who sends a second does not want to wait."""
    out, moved = tmp_path / "run", tmp_path / "moved"
    slow = [QUIET, ("mark_moves", str(moved)), ("slow_moves", 30.0)]
    job = nursery().start(["distill", "--config", config, "--out", out], tmp_path, slow)
    job.wait_until(moved.is_file)
    deadline = time.monotonic() + 20  # a move lasts 30
    job.signal(signal.SIGTERM)
    time.sleep(0.2)
    assert job.poll() is None
    while job.poll() is None and time.monotonic() < deadline:
        job.signal(signal.SIGTERM)  # two that arrive before the first is answered count as one
        time.sleep(0.5)
    assert job.wait(1) == -signal.SIGTERM
    finish(out)


def test_a_kill_during_the_save_that_a_signal_asked_for(
    config: Path, finish: Callable[[Path], None], tmp_path: Path
) -> None:
    out, saving = tmp_path / "run", tmp_path / "saving"
    before = [QUIET, ("stop_after_move", 5), ("pause_in_save", str(saving), 0.3)]
    job = nursery().start(["distill", "--config", config, "--out", out], tmp_path, before)
    job.wait_until(saving.is_file)
    job.signal(signal.SIGKILL)  # between the files and their name
    assert job.wait() == -signal.SIGKILL
    assert list((out / "checkpoints").glob(".tmp-*"))
    finish(out)
    assert not list((out / "checkpoints").glob(".tmp-*"))


def test_sigterm_during_a_timed_save_completes_it(
    tiny: Tiny, config: Path, finish: Callable[[Path], None], tmp_path: Path
) -> None:
    out, saving = tmp_path / "run", tmp_path / "saving"
    before = [QUIET, ("pause_in_save", str(saving), 0.3)]
    argv = ["distill", "--config", config, "--out", out, "engine.checkpoint_seconds=1e-6"]
    job = nursery().start(argv, tmp_path, before)
    job.wait_until(saving.is_file)
    job.signal(signal.SIGTERM)
    assert job.wait() == 75, job.output
    whole = [p for p in (out / "checkpoints").glob("step-*") if find_fault(p) is None]
    assert len(whole) == 2
    finish(out)


def test_before_the_first_move_nothing_is_waited_for(config: Path, tmp_path: Path) -> None:
    out, preparing = tmp_path / "run", tmp_path / "preparing"
    before = [QUIET, ("pause_in_preparing", str(preparing))]
    job = nursery().start(["distill", "--config", config, "--out", out], tmp_path, before)
    job.wait_until(preparing.is_file)
    job.signal(signal.SIGTERM)
    assert job.wait(120) == 75, job.output  # it would last 600
    assert "stopped by SIGTERM before the first move" in job.output
    assert "Traceback" not in job.output
    assert not out.exists()


def test_scoring_is_not_waited_for(config: Path, finish: Callable[[Path], None], tmp_path: Path) -> None:
    out, scoring = tmp_path / "run", tmp_path / "scoring"
    before = [QUIET, ("pause_in_scoring", str(scoring))]
    job = nursery().start(["distill", "--config", config, "--out", out], tmp_path, before)
    job.wait_until(scoring.is_file)
    job.signal(signal.SIGINT)
    assert job.wait(120) == 75, job.output
    assert "All steps are saved" in job.output
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["seconds"] > 0
    finish(out)


def test_a_move_that_is_too_long_is_given_up(config: Path, finish: Callable[[Path], None], tmp_path: Path) -> None:
    """At the end of a pass through a network: what was saved before the move stands."""
    out, moving = tmp_path / "run", tmp_path / "moving"
    before = [QUIET, ("endless_move", 5, str(moving))]
    argv = ["distill", "--config", config, "--out", out, "engine.checkpoint_seconds=1e-6"]
    job = nursery().start(argv, tmp_path, before)
    job.wait_until(moving.is_file)
    job.signal(signal.SIGTERM)
    assert job.wait(60) == 75, job.output  # it would last 100
    assert "which is lost" in job.output
    assert "Traceback" not in job.output
    finish(out)


def test_signals_are_given_back(tiny: Tiny, tmp_path: Path) -> None:
    """A program that calls the library keeps its own handlers, and those of signals that it uses itself meanwhile."""
    from sansdata.engine.run import run

    came = []

    def mine(number: int, _: object) -> None:
        came.append(number)

    def use(step: int, _: object) -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = {number: signal.signal(number, mine) for number in (signal.SIGUSR1, signal.SIGTERM)}
    try:
        run(tiny.settings("noise", CASES["noise"].options, budget="1steps"), tmp_path / "run", on_step=use)
        assert came == [signal.SIGUSR1]
        assert all(signal.getsignal(number) is mine for number in before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_handlers_that_python_does_not_know_are_given_back(tmp_path: Path) -> None:
    """As faulthandler installs them: `signal.getsignal` tells the default."""
    with (tmp_path / "stacks").open("w") as stacks:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            faulthandler.register(number, stacks)
        try:
            with stop_on_signals():
                signal.raise_signal(signal.SIGUSR1)
            assert "most recent call first" in (tmp_path / "stacks").read_text()
            for number in (signal.SIGUSR1, signal.SIGTERM):
                signal.raise_signal(number)
            assert (tmp_path / "stacks").read_text().count("Current thread") == 3
        finally:
            for number in (signal.SIGUSR1, signal.SIGTERM):
                faulthandler.unregister(number)
