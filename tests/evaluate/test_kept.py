"""evaluation.json grows: what was measured once stays, whatever is measured next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sansdata import files
from sansdata.evaluate.kept import keep_by_name, keep_figures

PLAIN = {"name": "accuracy", "value": 0.8, "unit": "share"}
BESIDE = {"name": "teacher_accuracy", "value": 0.9, "unit": "share"}


def kept(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def test_a_measurement_without_the_teacher_keeps_the_teachers_figures(tmp_path: Path):
    of = {"source": "digits", "count": 10}
    keep_figures(
        tmp_path, {**of, "accuracy": 0.7, "teacher_accuracy": 0.9, "figures": [PLAIN | {"value": 0.7}, BESIDE]}
    )
    keep_figures(tmp_path, {**of, "accuracy": 0.7, "over_time": {"4": 0.5}, "figures": []})
    keep_figures(tmp_path, {**of, "accuracy": 0.8, "figures": [PLAIN]})
    found = kept(tmp_path)
    assert (found["accuracy"], found["teacher_accuracy"], found["over_time"]) == (0.8, 0.9, {"4": 0.5})
    assert found["figures"] == [PLAIN, BESIDE]


def test_another_set_stands_beside_the_first_and_not_mixed_with_it(tmp_path: Path):
    keep_figures(tmp_path, {"source": "a", "count": 10, "accuracy": 0.7, "teacher_accuracy": 0.9})
    keep_by_name(tmp_path, "attacks", "badnets", {"rate": 0.1, "count": 5})
    keep_figures(tmp_path, {"source": "b", "count": 10, "accuracy": 0.5})
    found = kept(tmp_path)
    assert (found["accuracy"], "teacher_accuracy" in found) == (0.5, False)
    assert found["earlier"]["a, 10 samples"]["teacher_accuracy"] == 0.9
    keep_figures(tmp_path, {"source": "a", "count": 10, "accuracy": 0.7})
    found = kept(tmp_path)
    assert found["teacher_accuracy"] == 0.9
    assert list(found["earlier"]) == ["b, 10 samples"]
    assert found["attacks"] == {"badnets": {"rate": 0.1, "count": 5}}


def test_a_probe_without_a_ceiling_keeps_the_ceiling(tmp_path: Path):
    probe = {
        "data": "mnist",
        "train": 5,
        "test": 5,
        "ceiling": {"probe": 0.9},
        "model": {"probe": 0.8, "fine_tune": 0.9},
    }
    keep_by_name(tmp_path, "transfer", "mnist", probe)
    later = probe | {"ceiling": None, "model": {"probe": 0.8, "fine_tune": None}}
    keep_by_name(tmp_path, "transfer", "mnist", later)
    assert kept(tmp_path)["transfer"]["mnist"] == probe
    keep_by_name(tmp_path, "transfer", "mnist", later | {"train": 6})  # of other images: nothing to add to
    assert kept(tmp_path)["transfer"]["mnist"]["ceiling"] is None


def test_a_damaged_file_is_set_aside_and_a_link_is_replaced(tmp_path: Path):
    (tmp_path / "evaluation.json").write_text("{torn")
    keep_figures(tmp_path, {"accuracy": 0.7})
    assert kept(tmp_path) == {"accuracy": 0.7}
    assert [p.read_text() for p in tmp_path.glob("evaluation.json.damaged-*")] == ["{torn"]
    (tmp_path / "evaluation.json").unlink()
    (tmp_path / "mine").write_text("{}")
    (tmp_path / "evaluation.json").symlink_to(tmp_path / "mine")
    keep_figures(tmp_path, {"accuracy": 0.6})
    assert (tmp_path / "mine").read_text() == "{}"


def test_where_nothing_can_be_written_it_is_said_and_nothing_is_raised(tmp_path: Path):
    assert "cannot be written" in keep_figures(tmp_path / "gone", {"accuracy": 0.7})
    (tmp_path / "evaluation.json").mkdir()
    assert "evaluation.json cannot be written" in keep_figures(tmp_path, {"accuracy": 0.7})


def test_figures_that_have_no_room_are_said_and_what_stands_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert keep_figures(tmp_path, {"source": "a", "count": 10, "accuracy": 0.7}) == ""
    before = (tmp_path / "evaluation.json").read_text()
    monkeypatch.setattr(files, "MAX_JSON_BYTES", len(before) + 5)
    assert "stand nowhere else" in keep_figures(tmp_path, {"source": "b", "count": 10, "accuracy": 0.5})
    monkeypatch.setattr(files, "MAX_JSON_BYTES", len(before) - 5)
    assert "stand nowhere else" in keep_figures(tmp_path, {"source": "a", "count": 10, "accuracy": 0.9})
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("evaluation.json", before)]
