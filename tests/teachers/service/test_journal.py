"""A journal on a disk that fills up: what is whole stays, and nothing half is left behind it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from sansdata.errors import TeacherError
from sansdata.teachers.service import journal
from sansdata.teachers.service.journal import Journal


def test_a_line_that_did_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    kept = Journal(path)
    kept.add({"one": "a"}, {"samples": 1})
    whole, opened = path.read_bytes(), journal.open_in_place

    class Short(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:10])

    def nearly_full(where: Path) -> Any:
        with opened(where) as file:
            return Short(os.dup(file.fileno()), "a+b")

    monkeypatch.setattr(journal, "open_in_place", nearly_full)
    with pytest.raises(TeacherError, match="No space"):
        kept.add({"two": "b"}, {"samples": 1})
    monkeypatch.undo()
    assert path.read_bytes() == whole
    kept.add({"three": "c"}, {"samples": 1})
    assert Journal(path).answers == {"one": "a", "three": "c"}
