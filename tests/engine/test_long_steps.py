"""No more than a few seconds pass without a word before a run begins."""

from __future__ import annotations

import time

import pytest

from sansdata.engine import long_steps
from sansdata.engine.long_steps import long_step


def test_a_long_step_says_what_it_is(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(long_steps, "PATIENCE", 0.02)
    with long_step("reading"):
        time.sleep(0.2)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("reading: ") and line.endswith(" s") for line in lines)


def test_a_quick_one_says_nothing_nor_does_another_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with long_step("reading"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(long_steps, "PATIENCE", 0.01)
    with long_step("reading"):
        time.sleep(0.05)
    assert capfd.readouterr().err == ""
