"""`sansdata audit` on real runs, at every level of evidence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import real_run
from typer.testing import CliRunner

import sansdata
from sansdata.audit.findings import NAME
from sansdata.audit.levels import Level
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError, RunDirectoryError, TeacherError

pytest.importorskip("fairlearn")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(real_run.finished(real_run.IMAGE), tmp_path / "run"))


@pytest.fixture
def cases(tmp_path: Path) -> tuple[Path, Path]:
    """(images with labels, manifest with groups): 120 of them."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "cases.npz", x=random.integers(0, 256, (120, 8, 8), dtype=np.uint8), y=np.arange(120) % 4)
    lines = [f"{n},person-{n:04d},{'FM'[n % 2]}" for n in range(120)]
    (tmp_path / "cases.csv").write_text("row,patient_id,sex\n" + "\n".join(lines) + "\n")
    return tmp_path / "cases.npz", tmp_path / "cases.csv"


def test_level_0_says_nothing_of_accuracy_fairness_or_privacy(run: Path) -> None:
    found = sansdata.audit(run, groups=["sex"])
    assert found.level == Level.L0
    assert {one.measure[0] for one in found.entries} == {"A", "B", "C", "D"}
    missing = {one.measure: one for one in found.unmeasured}
    assert {"C8", "D11", "E14", "E15", "E16", "F17", "F18", "F19", "F20"} <= missing.keys()
    assert missing["E14"].name == "fairness by sex"
    assert not any(word in one.name for one in found.entries for word in ("accuracy", "sex", "member"))


def test_every_level_and_nothing_is_replaced(run: Path, cases: tuple[Path, Path]) -> None:
    data, manifest = cases
    sansdata.audit(run)
    first = json.loads((run / NAME).read_text())["audits"][0]
    plain = sansdata.audit(run, inputs=data)
    assert plain.level == Level.L1
    labelled = sansdata.audit(run, data=data)
    assert labelled.level == Level.L2
    assert labelled.entry("student accuracy").level == Level.L2
    grouped = sansdata.audit(run, data=data, manifest=manifest)
    assert grouped.level == Level.L3
    assert grouped.entry("student accuracy, sex: F").interval is not None
    whole = sansdata.audit(run, data=data, manifest=manifest, inputs=data, training=real_run.tiny().data)
    assert whole.level == Level.L4
    assert "membership AUC of the student" in {one.name for one in whole.entries}
    names = {one.name for one in whole.entries}
    assert {"nearer to training, plain numbers", "near copies among held-out records, plain numbers"} <= names
    kept = json.loads((run / NAME).read_text())["audits"]
    assert [one["level"] for one in kept] == ["L0", "L1", "L2", "L3", "L4"]
    assert kept[0] == first
    assert "person-" not in (run / NAME).read_text()
    for one in kept[4]["entries"]:
        assert {"name", "value", "interval", "n", "level", "caveat"} <= one.keys()


@pytest.mark.parametrize("name", ["data", "inputs", "training"])
def test_a_handful_of_inputs_is_nothing_to_measure(name: str, run: Path, cases: tuple[Path, Path]) -> None:
    random = np.random.default_rng(0)
    few = run.parent / "few.npz"
    np.savez(few, x=random.integers(0, 256, (3, 8, 8), dtype=np.uint8), y=np.arange(3))
    with pytest.raises(DataError, match=r"^3 .*: fewer than 10"):
        sansdata.audit(run, **({"data": cases[0]} | {name: few}))
    assert not (run / NAME).exists()


def test_a_run_of_another_seed_gives_the_gap(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(real_run.finished(real_run.IMAGE), tmp_path / "other"))
    found = sansdata.audit(run, held_out=other)
    assert found.entry("fidelity gap to held-out synthetic").value == 0
    with pytest.raises(ConfigError, match="is the run itself"):
        sansdata.audit(run, held_out=run)


def test_what_is_wrong_is_said_before_anything_is_measured(run: Path, cases: tuple[Path, Path], tmp_path: Path) -> None:
    data, manifest = cases
    with pytest.raises(ConfigError, match="give both"):
        sansdata.audit(run, manifest=manifest)
    with pytest.raises(DataError, match="no group column 'age'"):
        sansdata.audit(run, data=data, manifest=manifest, groups=["age"])
    with pytest.raises(ConfigError, match="name the groups in a --manifest"):
        sansdata.audit(run, data=data, groups=["sex"])
    with pytest.raises(TeacherError, match="not the teacher of this run"):
        sansdata.audit(run, teacher=sansdata.Teacher.from_module(sansdata.load(run).student, sansdata.load(run).task))
    (run / "images.npz").unlink()
    with pytest.raises(DataError, match="kept nothing of what it made"):
        sansdata.audit(run)
    with pytest.raises((ConfigError, RunDirectoryError)):
        sansdata.audit(tmp_path / "nowhere")
    assert not (run / NAME).exists()


def test_a_run_does_not_choose_what_code_is_imported(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    lines = ["teacher: os:system@x" if line.startswith("teacher:") else line for line in text.splitlines()]
    (run / "config.yaml").write_text("\n".join(lines) + "\n")
    with pytest.raises(TeacherError, match="names no teacher that can be read without code"):
        sansdata.audit(run)


def test_the_command_on_a_table_whose_category_is_a_group(tmp_path: Path) -> None:
    run = Path(shutil.copytree(real_run.finished(real_run.TABLE), tmp_path / "run"))
    done = CliRunner().invoke(app, ["audit", str(run), "--data", str(real_run.table()), "--groups", "shape"])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    assert "evidence  L3" in done.output
    assert "not measurable at this level" in done.output
    assert "E14" in done.output


def test_the_report_shows_the_last_audit_and_what_it_has_no_figure_for(run: Path, cases: tuple[Path, Path]) -> None:
    assert 'id="audit"' not in sansdata.report(run).read_text()
    sansdata.audit(run)
    text = sansdata.report(run).read_text()
    assert 'id="audit"' in text
    assert "Evidence of level L0" in text
    assert "E14 group fairness" in text
    data, manifest = cases
    sansdata.validate(run, real_run.tiny().teacher, data, manifest, resamples=200)
    text = sansdata.report(run).read_text()
    assert 'id="validation"' in text
    assert "declared beforehand: not more than 0.03 below" in text
