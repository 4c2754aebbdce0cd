"""`sansdata validate`, from files to figures: images with a planted defect, and a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError, TeacherError
from sansdata.validation.record import NAME

pytest.importorskip("fairlearn")
TASK = sansdata.ImageTask(shape=(1, 8, 8), classes=2, mean=(0.5,), std=(0.25,))
COUNT = 400


def network(hidden: int = 16) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 2))


def trained(module: nn.Module, images: np.ndarray, labels: np.ndarray) -> nn.Module:
    inputs = (torch.from_numpy(images).float().div(255)[:, None] - 0.5) / 0.25
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs), torch.from_numpy(labels)).backward()
        optimiser.step()
    return module.eval()


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """cases.npz, cases.csv: two scanners, the images of the second with labels that are wrong for a third of them."""
    values, digits = load_digits(return_X_y=True)
    images, labels = (values.reshape(-1, 8, 8) * 15.9).astype(np.uint8), (digits >= 5).astype(np.int64)
    torch.manual_seed(0)
    save_file(trained(network(), images[:600], labels[:600]).state_dict(), tmp_path / "teacher.safetensors")
    local, true = images[600 : 600 + COUNT], labels[600 : 600 + COUNT].copy()
    random = np.random.default_rng(0)
    scanner = np.where(random.random(COUNT) < 0.5, "one", "two")
    wrong = (scanner == "two") & (random.random(COUNT) < 0.33)
    true[wrong] = 1 - true[wrong]
    np.savez(tmp_path / "cases.npz", x=local)
    lines = [f"{n},{true[n]},person-{n // 2:04d},{scanner[n]}" for n in range(COUNT)]
    (tmp_path / "cases.csv").write_text("row,label,patient_id,scanner\n" + "\n".join(lines) + "\n")
    return tmp_path


def teacher(folder: Path) -> sansdata.Teacher:
    from safetensors.torch import load_file

    module = network()
    module.load_state_dict(load_file(folder / "teacher.safetensors"))
    return sansdata.Teacher.from_module(module, TASK)


def test_a_student_that_is_its_teacher_passes_and_both_are_worse_on_the_defect(hospital: Path) -> None:
    beside = teacher(hospital)
    found = sansdata.validate(
        beside.module, beside, hospital / "cases.npz", hospital / "cases.csv", TASK, out=hospital / NAME, resamples=200
    )
    assert found.verdict.outcome == "pass"
    assert found.patients == COUNT // 2
    for who in ("student", "teacher"):
        interval = found.figure(f"{who} accuracy against the rest, scanner: two").interval
        assert interval is not None
        assert interval[1] < 0
    record = json.loads((hospital / NAME).read_text())
    assert [one["number"] for one in record["declarations"]] == [found.declaration.number]
    assert record["validations"][0]["declaration"]["margin"] == 0.03
    assert "person-" not in (hospital / NAME).read_text()


def test_the_margin_stands_before_the_data_are_opened_and_nothing_is_replaced(hospital: Path) -> None:
    beside, out = teacher(hospital), hospital / NAME
    good = (hospital / "cases.csv").read_text()
    (hospital / "cases.csv").write_text("row,label\nx,1\n")
    with pytest.raises(DataError, match="rows are whole numbers"):
        sansdata.validate(beside.module, beside, hospital / "cases.npz", hospital / "cases.csv", TASK, out=out)
    assert [one["margin"] for one in json.loads(out.read_text())["declarations"]] == [0.03]
    (hospital / "cases.csv").write_text(good)
    for margin in (0.2, 0.1):
        found = sansdata.validate(
            beside.module, beside, hospital / "cases.npz", hospital / "cases.csv", TASK, out=out, margin=margin,
            groups=(), resamples=200,
        )  # fmt: skip
    record = json.loads(out.read_text())
    assert [one["margin"] for one in record["declarations"]] == [0.03, 0.2, 0.1]
    assert [one["declaration"]["margin"] for one in record["validations"]] == [0.2, 0.1]
    assert any("an earlier one declared margin" in note for note in found.notes)


def test_a_student_at_a_wrong_threshold_is_mended_by_recalibration(hospital: Path) -> None:
    beside, shifted = teacher(hospital), teacher(hospital).module
    with torch.no_grad():
        shifted[-1].bias += torch.tensor([0.0, 25.0])  # type: ignore[index]
    given = (beside, hospital / "cases.npz", hospital / "cases.csv", TASK)
    options = {
        "out": hospital / NAME,
        "measure": "balanced_accuracy",
        "margin": 0.1,
        "groups": (),
        "resamples": 200,
    }
    assert sansdata.validate(shifted, *given, **options).verdict.outcome == "fail"  # type: ignore[arg-type]
    found = sansdata.validate(shifted, *given, **options, recalibrate=True)  # type: ignore[arg-type]
    assert found.verdict.outcome == "pass"
    assert found.cases == COUNT * 3 // 4
    assert found.recalibrations["student"].offsets[1] < -1
    record = json.loads((hospital / NAME).read_text())["validations"][-1]
    assert record["declaration"]["recalibrated"] is True
    assert record["recalibrations"]["student"]["threshold"] == found.recalibrations["student"].threshold


def test_what_is_wrong_is_said_before_anything_is_written(hospital: Path) -> None:
    beside, data, listed = teacher(hospital), hospital / "cases.npz", hospital / "cases.csv"
    with pytest.raises(ConfigError, match="say where the validation is recorded"):
        sansdata.validate(beside.module, beside, data, listed, TASK)
    with pytest.raises(ConfigError, match="its folder is not there"):
        sansdata.validate(beside.module, beside, data, listed, TASK, out=hospital / "no" / NAME)
    with pytest.raises(ConfigError, match="unknown measure 'auc'"):
        sansdata.validate(beside.module, beside, data, listed, TASK, out=hospital / NAME, measure="auc")
    with pytest.raises(DataError, match="no such manifest"):
        sansdata.validate(beside.module, beside, data, hospital / "none.csv", TASK, out=hospital / NAME)
    other = sansdata.ImageTask(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,))
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    of_three = sansdata.Teacher.from_module(wide, other)
    with pytest.raises(TeacherError, match="different tasks"):
        sansdata.validate(beside.module, of_three, data, listed, TASK, out=hospital / NAME)
    assert not (hospital / NAME).exists()
    (hospital / "thesis.pdf").write_text("%PDF-1.7")
    with pytest.raises(DataError, match="no record of sansdata's"):
        sansdata.validate(beside.module, beside, data, listed, TASK, out=hospital / "thesis.pdf")
    assert (hospital / "thesis.pdf").read_text() == "%PDF-1.7"
    assert not list(hospital.glob("*damaged*"))


def test_the_command_on_a_table_with_a_forest_as_teacher(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    from sansdata.models.build import architecture_of, build
    from sansdata.models.saved import write_model
    from sansdata.tasks import KNOWN_TASKS

    rows, labels = load_breast_cancer(return_X_y=True)
    skops.dump(RandomForestClassifier(10, random_state=0).fit(rows, labels), tmp_path / "forest.skops")
    task = KNOWN_TASKS["breast-cancer"]
    architecture = architecture_of("mlp-small", task)
    write_model(tmp_path / "student.safetensors", build(architecture), architecture, task, {})
    listed = tmp_path / "cases.csv"
    listed.write_text("row,age\n" + "".join(f"{n},{'old' if n % 3 else 'young'}\n" for n in range(140)))
    argv = ["validate", str(tmp_path / "student.safetensors"), "--teacher", str(tmp_path / "forest.skops"),
            "--data", "breast-cancer", "--manifest", str(listed), "--out", str(tmp_path / NAME),
            "--resamples", "200"]  # fmt: skip
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    assert "verdict   fail: auroc" in done.output
    assert "sensitivity" in done.output
    assert "accuracy, age: old" in done.output
    (tmp_path / "no.csv").write_text("row\nx\n")
    from sansdata.errors import UserError

    refused = CliRunner().invoke(app, [*argv[:6], "--manifest", str(tmp_path / "no.csv"), *argv[8:]])
    assert isinstance(refused.exception, UserError)
