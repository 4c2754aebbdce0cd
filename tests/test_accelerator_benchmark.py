"""The script that measures an accelerator in minutes, at toy size on a processor."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("accelerator")


def test_what_time_or_machine_do_not_allow_is_left_out_and_said(accelerator, monkeypatch) -> None:
    monkeypatch.setattr(accelerator, "resumed_alike", lambda device, toy: {"stopped": True, "bitwise": True})
    monkeypatch.delenv("SANSDATA_DATA", raising=False)
    found = accelerator.measure(0.0, toy=True)
    assert found["steps"] == []
    assert {"accelerator", "public pair"} < set(found["left out"])
    assert all("no time was left" in why for name, why in found["left out"].items() if "resnet8" in name)
    assert found["matrix rate, FLOP/s"]["fp32"] > 1e8


@pytest.mark.long
def test_the_whole_at_toy_size(accelerator, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["accelerator.py", "--toy", "--minutes", "3", "--json", str(tmp_path / "a.json")])
    accelerator.main()
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["resume"] == {"stopped": True, "bitwise": True}
    assert found["steps"][0]["precision"] == "fp32"
    assert all(row["synthesis round, s"] > row["student step, s"] > 0 for row in found["steps"])
