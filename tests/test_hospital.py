"""The hospital's story at small size: every command of every house ends as it should."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from processes import nursery

HOUSES = Path(__file__).parents[1] / "examples" / "hospital"


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Its scripts importable, and their commands forks of a process that has torch already."""
    pytest.importorskip("cryptography")
    pytest.importorskip("fairlearn")
    monkeypatch.syspath_prepend(str(HOUSES))
    for name in ("steps", "cases", "vendor", "hospital", "device", "auditor"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(*words: object, expected: int = 0) -> str:
        job = nursery().run([str(word) for word in words], tmp_path)
        assert job.code == expected, f"{words}\n{job.output}"
        return job.output

    monkeypatch.setattr(importlib.import_module("steps"), "sansdata", run)
    return tmp_path / "houses"


def test_four_houses_with_files_between_them(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["story", str(story), "--quick"])
    for house in ("vendor", "hospital", "device", "auditor"):
        importlib.import_module(house).main()
    assert (story / "device" / "store" / "CURRENT").read_text().split() == ["student-1.0.0"]
    card = (story / "house" / "card.md").read_text()
    assert "Student of model 1.0.0" in card
    assert "declared before the cases were opened" in card
    phases = [
        line.split('"phase":"')[1].split('"')[0] for line in (story / "house/run/chain.jsonl").read_text().splitlines()
    ]
    assert phases[0] == "SEALED"
    assert phases.count("LOCAL") >= 3  # validated, fine-tuned, audited
