"""Every verb knows every kind of run, or refuses it; what it measured is not lost, and recorded where it belongs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import real_run
import torch

import sansdata
from sansdata.errors import ConfigError, RunDirectoryError, UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(real_run.finished(real_run.IMAGE), tmp_path / "run"))


@pytest.fixture
def federated(tmp_path: Path) -> Path:
    """The files that a page of a federated run is made from."""
    out = tmp_path / "federated"
    out.mkdir()
    line = {
        "round": 0, "refused": [], "lost": [{"client": 1, "reason": "away"}], "down": {"model": 10}, "up": {"model": 9},
        "server_seconds": 0.1, "client_seconds": 0.2, "accuracy": 0.5,
        "clients_accuracy": {"mean": 0.5, "std": 0.1, "lowest": 0.3, "worst_tenth": 0.3},
    }  # fmt: skip
    last = {"rounds": 1, "rounds_to": {"0.5": 1}, "down": {"model": 10}, "up": {"model": 9}, "accuracy": 0.5,
            "server_seconds": 0.1, "client_seconds": 0.2}  # fmt: skip
    real_run.write_json(out, "run.json", {"kind": "federated", "status": "done", "method": "fedavg", "notes": []})
    real_run.write_json(out, "partition.json", {"scheme": "iid", "clients": [{"classes": [1, 2]}, {"classes": [3, 4]}]})
    real_run.write_json(out, "summary.json", last)
    real_run.write_lines(out, [line])
    return out


def test_a_federated_run_keeps_its_own_page(federated: Path):
    page = sansdata.report(federated).read_text()
    assert "fedavg: 1 rounds" in page
    assert "lost: away" in page
    assert "Left out" not in page
    with pytest.raises(RunDirectoryError, match="its page stands alone"):
        sansdata.report(federated, data="digits")
    with pytest.raises(RunDirectoryError, match="its page stands alone"):
        sansdata.report([federated, federated])


@pytest.mark.parametrize("name", ["partition.json", "summary.json", "metrics.jsonl"])
@pytest.mark.parametrize(
    "content",
    ["", "{", '{"clients": [{"classes": [1e300]}], "rounds_to": 3, "round": NaN, "accuracy": "x"}', "[" * 9999],
)
def test_a_damaged_file_of_a_federated_run_costs_its_section_only(federated: Path, name: str, content: str):
    (federated / name).write_text(content)
    page = sansdata.report(federated).read_text()
    assert "fedavg: 1 rounds" in page


def test_the_figures_of_a_result_are_recorded_where_it_is_the_runs(run: Path):
    result, data = sansdata.load(run), str(real_run.tiny().data)
    sansdata.evaluate(result, data)
    recorded = json.loads((run / "evaluation.json").read_text())
    with torch.no_grad():
        next(result.student.parameters()).add_(1)
    sansdata.evaluate(result, data)  # of a network that no run wrote
    assert json.loads((run / "evaluation.json").read_text()) == recorded


def test_an_evaluation_after_a_report_with_data_keeps_accuracy_over_time(run: Path):
    data = str(real_run.tiny().data)
    sansdata.report(run, data=data)
    over_time = real_run.read(run, "evaluation.json")["over_time"]
    assert over_time
    sansdata.evaluate(run, data)
    assert real_run.read(run, "evaluation.json")["over_time"] == over_time


def test_figures_that_cannot_be_kept_are_still_given(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (run / "evaluation.json").mkdir()
    data = str(real_run.tiny().data)
    assert sansdata.evaluate(run, data).count == 40
    assert "these figures stand nowhere else" in capsys.readouterr().err
    assert "on 40 real images" in sansdata.report(run, data=data, out=tmp_path / "page.html").read_text()


def test_an_attack_has_a_row(run: Path):
    sansdata.attack_success(run, str(real_run.tiny().data), "badnets-grid", target=1)
    sansdata.attack_success(run, str(real_run.tiny().data), "badnets-grid", target=2)
    page = sansdata.report(run).read_text()
    assert "attack badnets-grid to class 1" in page
    assert "attack badnets-grid to class 2" in page


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match="there is no such directory"):
        sansdata.evaluate(tmp_path / "nosuchdir", "digits")
    for verb in (sansdata.report, sansdata.export, sansdata.load):
        with pytest.raises(RunDirectoryError, match="found no directory there"):
            verb(tmp_path / "nosuchdir")


@pytest.mark.parametrize(
    "name", ["x" * 5000, "a/" * 3000, "a\0b", "\ud800", "m:" + "f" * 5000, "resnet8@x\0y.pt"], ids=range(6)
)
@pytest.mark.parametrize(
    "verb", [sansdata.export, sansdata.report, sansdata.load, lambda run: sansdata.evaluate(run, "x")]
)
def test_what_cannot_be_a_path_is_one_error(verb: Any, name: str) -> None:
    with pytest.raises(UserError) as fault:
        verb(name)
    assert len(str(fault.value)) < 700
