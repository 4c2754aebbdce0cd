"""`sansdata finetune`: a scanner that was hardly seen is learned, the other is not forgotten, the parent stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.datasets import load_digits
from torch import nn
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError
from sansdata.files import sha256
from sansdata.finetuning.folds import three_folds
from sansdata.finetuning.stages import stages
from sansdata.kinds.index import input_kind
from sansdata.kinds.inputs.table import Table
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import write_model
from sansdata.network import Network
from sansdata.validation.cases import load_cases
from sansdata.validation.manifest import read_manifest

TASK = sansdata.PairTask(
    inputs={"kind": "table", "columns": [{"name": f"p{n}", "range": (0, 16)} for n in range(64)]},
    outputs={"kind": "classes", "classes": 10},
)
COUNT = 880


def as_seen_by_the_second_scanner(rows: np.ndarray) -> np.ndarray:
    """Light for dark, and fainter."""
    return 16 - 0.8 * rows


def learned(module: nn.Module, rows: np.ndarray, labels: np.ndarray) -> nn.Module:
    network, inputs = Network.of(module.train(), TASK), travelling(rows)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs).value, torch.from_numpy(labels)).backward()
        optimiser.step()
    return module.eval()


def travelling(rows: np.ndarray) -> dict[str, torch.Tensor]:
    numbers = torch.from_numpy(rows.astype(np.float32))
    return Table(TASK.inputs).rows(numbers, None, torch.zeros(len(rows), 64, dtype=torch.bool))


def kept(path: Path, rows: np.ndarray, **others: np.ndarray) -> None:
    arrays = input_kind(TASK).to_arrays(input_kind(TASK).pack(travelling(rows)))
    np.savez(path, **arrays, **others)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """student.safetensors of digits, made.npz of what it was 'distilled' on, cases.npz and cases.csv of two scanners,
    the second of which shows light for dark."""
    folder = tmp_path_factory.mktemp("hospital")
    rows, labels = load_digits(return_X_y=True)
    torch.manual_seed(0)
    architecture = architecture_of("mlp", TASK)
    mixed = np.concatenate([rows[:900], as_seen_by_the_second_scanner(rows[:40])])
    module = learned(build(architecture), mixed, np.concatenate([labels[:900], labels[:40]]))
    write_model(folder / "student.safetensors", module, architecture, TASK, {"made": "for a test"})
    with torch.no_grad():
        logits = Network.of(module, TASK)(travelling(rows[:400])).value.numpy()
    kept(folder / "made.npz", rows[:400], y=logits.argmax(1), logits=logits)
    local, true = rows[900 : 900 + COUNT].copy(), labels[900 : 900 + COUNT]
    scanner = np.where(np.random.default_rng(0).random(COUNT) < 0.5, "one", "two")
    local[scanner == "two"] = as_seen_by_the_second_scanner(local[scanner == "two"])
    kept(folder / "cases.npz", local, y=true)
    lines = [f"{n},{true[n]},person-{n // 2:04d},{scanner[n]}" for n in range(COUNT)]
    (folder / "cases.csv").write_text("row,label,patient_id,scanner\n" + "\n".join(lines) + "\n")
    return folder


def tuned(hospital: Path, out: Path, **settings: float) -> sansdata.FineTuned:
    given = {"epochs": 25, "head_lr": 3e-3, "block_lr": 1e-3} | settings
    return sansdata.finetune(
        hospital / "student.safetensors", hospital / "cases.npz", hospital / "cases.csv", out,
        synthetic=hospital / "made.npz", settings=given,
    )  # fmt: skip


def test_the_shifted_scanner_is_learned_the_other_is_kept_and_the_parent_stays(hospital: Path, tmp_path: Path) -> None:
    parent = sha256(hospital / "student.safetensors")
    done = tuned(hospital, tmp_path / "new")
    gained = done.comparison.figure("change in accuracy, scanner: two")
    assert gained.interval is not None
    assert gained.value > 0.05
    assert gained.interval[0] > 0
    assert done.comparison.figure("change in accuracy, scanner: one").value >= -0.01
    assert done.comparison.chance < 0.05
    assert done.comparison.kept is not None
    assert done.comparison.kept[0] - done.comparison.kept[1] <= 0.02
    assert sha256(hospital / "student.safetensors") == parent == done.parent
    with safe_open(tmp_path / "new" / "student.safetensors", "pt") as file:
        origin = json.loads(file.metadata()["sansdata"])["provenance"]
    assert origin["fine-tuned"]["parent"] == parent
    assert origin["parent provenance"] == {"made": "for a test"}
    text = (tmp_path / "new" / "finetune.json").read_text()
    assert json.loads(text)["test"]["patients"] == done.comparison.patients
    assert "person-" not in text
    again = sansdata.evaluate(str(tmp_path / "new" / "student.safetensors"), hospital / "made.npz")
    assert again.accuracy == pytest.approx(done.comparison.kept[1], abs=1e-6)


def test_only_the_head_and_the_last_block_move(hospital: Path, tmp_path: Path) -> None:
    done = tuned(hospital, tmp_path / "new", epochs=2)
    from sansdata.api.result import read_student

    before, task = read_student(hospital / "student.safetensors")
    _, free = stages(Network.of(before, task), task)
    assert 0 < len(free) < len(list(before.named_parameters()))
    own = done.student.state_dict()
    for name, value in before.state_dict().items():
        if name not in free:
            assert torch.equal(value, own[name]), name
    assert any(not torch.equal(before.state_dict()[name], own[name]) for name in free)


def test_another_question_is_answered_from_a_fresh_last_layer(hospital: Path, tmp_path: Path) -> None:
    """Classes of another meaning, here of the digits in another order."""
    lines = (hospital / "cases.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    turned = [",".join([row, str((int(label) * 3 + 1) % 10), *rest]) for row, label, *rest in rows]
    (tmp_path / "turned.csv").write_text("\n".join([lines[0], *turned]) + "\n")
    settings = {"last_layer": "fresh", "free": "all", "synthetic": 0, "anchor": 0, "epochs": 40, "head_lr": 0.01}
    done = sansdata.finetune(
        hospital / "student.safetensors", hospital / "cases.npz", tmp_path / "turned.csv", tmp_path / "new",
        settings=settings,
    )  # fmt: skip
    assert done.comparison.figure("before accuracy").value < 0.3
    assert done.comparison.figure("after accuracy").value > 0.6
    assert done.comparison.kept is None
    with pytest.raises(ConfigError, match="give synthetic=0 as well"):
        tuned(hospital, tmp_path / "other", last_layer="fresh")  # type: ignore[arg-type]


@pytest.mark.long
def test_two_runs_of_one_seed_are_the_same(hospital: Path, tmp_path: Path) -> None:
    one, other = (tuned(hospital, tmp_path / name, epochs=1) for name in ("a", "b"))
    for name, value in one.student.state_dict().items():
        assert torch.equal(value, other.student.state_dict()[name])
    assert one.comparison.figures == other.comparison.figures


def test_no_patient_stands_in_two_folds(hospital: Path) -> None:
    cases = load_cases(hospital / "cases.npz", TASK, read_manifest(hospital / "cases.csv"))
    folds = three_folds(cases, 3)
    parts = [set(cases.patients[part].tolist()) for part in (folds.tune, folds.stop, folds.test)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]
    assert sorted(np.concatenate([folds.tune, folds.stop, folds.test]).tolist()) == list(range(COUNT))
    with pytest.raises(DataError, match="at least 40 cases"):
        three_folds(cases.at(np.arange(30)), 0)
    rare = np.r_[np.flatnonzero(cases.labels != 3), np.flatnonzero(cases.labels == 3)[:2]]
    with pytest.raises(DataError, match="a class has fewer than 4 cases"):
        three_folds(cases.at(rare), 0)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"synthetic": None}, DataError, "name a run, or its images.npz"),
        ({"settings": {"head_rate": 1}}, ConfigError, "unknown setting 'head_rate'"),
        ({"settings": {"anchor": -1}}, ConfigError, "anchor"),
        ({"out": "cases.csv"}, ConfigError, "is there already"),
        ({"out": "no/where"}, ConfigError, "is to lie in is not there"),
        ({"synthetic": "cases.npz"}, DataError, "cases.npz"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(hospital: Path, given: dict, error: type, said: str) -> None:
    before = sorted(path.name for path in hospital.iterdir())
    named = {"out": "new", "synthetic": "made.npz"} | given
    paths = {name: named[name] if named[name] is None else hospital / named[name] for name in ("out", "synthetic")}
    with pytest.raises(error, match=said):
        sansdata.finetune(
            hospital / "student.safetensors", hospital / "cases.npz", hospital / "cases.csv", paths["out"],
            synthetic=paths["synthetic"], settings=given.get("settings"),
        )  # fmt: skip
    assert sorted(path.name for path in hospital.iterdir()) == before


def test_the_command(hospital: Path, tmp_path: Path) -> None:
    argv = ["finetune", str(hospital / "student.safetensors"), "--data", str(hospital / "cases.npz"), "--manifest",
            str(hospital / "cases.csv"), "--synthetic", str(hospital / "made.npz"), "--out", str(tmp_path / "new"),
            "epochs=1"]  # fmt: skip
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    assert "change in accuracy, scanner: two" in done.output
    assert "of so uneven a change, by patient" in done.output
    assert 0 <= json.loads((tmp_path / "new" / "finetune.json").read_text())["test"]["chance"] <= 1
    assert "its parent is" in done.output
