"""Nothing between the kinds takes every answer for a class: a kind of output of a third party goes the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from measured_values import network
from packages import declare
from safetensors.torch import save_file
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import DataError
from sansdata.kinds.index import input_kind

TASK = """
inputs: {kind: table, columns: [{name: a, range: [0, 1]}, {name: b, range: [-1, 1]}]}
outputs: {kind: values, count: 2}
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What names teacher and task on the command line."""
    (tmp_path / "package").mkdir()
    declare(tmp_path / "package", "measured-values", {"values": "measured_values:Values"})
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    (tmp_path / "task.yaml").write_text(TASK)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(network().state_dict(), tmp_path / "teacher.safetensors")
    teacher = f"measured_values:network@{tmp_path / 'teacher.safetensors'}"
    return ["--teacher", teacher, "--task", str(tmp_path / "task.yaml")]


def command(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def test_check_distil_evaluate_export_and_report(job: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    told = command("check", *job)
    assert "gives     2 values" in told
    assert "method    noise          works" in told
    assert "its outputs are classes, and the task's are values" in command("check", *job)
    command(
        "distill", *job, "--student", "measured_values:network", "--method", "noise", "--budget", "40steps", "--strict",
        "--threads", "1", "--out", str(run), "transfer.batch=32",
    )  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["agreement"] == {"last": None, "best": None}
    assert summary["selection"]["by"] == "last"
    assert summary["samples"]["value_spread"] > 0
    trusted = f"measured_values:network@{run}"  # code is run only where the user names it
    told = command("evaluate", trusted, "--data", str(run / "kept.npz"))
    assert "mean_error" in told
    assert "mean distance from the truth" in told
    assert json.loads((run / "evaluation.json").read_text())["mean_error"] < 0.2
    assert "parity" in command("export", trusted, "--to", "pt2")
    command("report", str(run))
    assert (run / "report.html").is_file()


def test_a_set_of_another_length_is_refused(job: list[str], tmp_path: Path) -> None:
    task = sansdata.load_task(job[-1])
    kind = input_kind(task)
    stored = kind.to_arrays(kind.pack(kind.draw(10, torch.Generator().manual_seed(0))))
    np.savez(tmp_path / "set.npz", **stored, y=np.zeros((9, 2)))
    with pytest.raises(DataError, match="10 rows but 9 labels"):
        sansdata.evaluate(network(), tmp_path / "set.npz", task)
    np.savez(tmp_path / "set.npz", **stored, y=np.zeros((10, 2)))
    assert sansdata.evaluate(network(), tmp_path / "set.npz", task).count == 10
