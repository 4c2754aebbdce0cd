"""The promise, at the level of a run: a method that opens data is caught, however it tries; a clean one is not."""

from __future__ import annotations

import contextlib
import json
import signal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import sabotage
from cases import CASES
from processes import distil
from safetensors.torch import save_file
from tiny import Tiny, make_module

from sansdata import evaluate
from sansdata.engine.run import run
from sansdata.engine.seal import chain
from sansdata.errors import NoDataViolation, SansdataError
from sansdata.methods import index
from sansdata.report.read import read_run
from sansdata.report.verdict import seal

OPTIONS = {"transfer": {"batch": 8}}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Real data that the machine happens to have, outside everything declared."""
    path = tmp_path / "elsewhere" / "train.safetensors"
    path.parent.mkdir()
    save_file(make_module().state_dict(), path)
    return path


def third_party(patch: pytest.MonkeyPatch, cls: type, path: Path) -> None:
    """`sneaky` is a method of another package."""
    patch.setattr(cls, "path", str(path))
    entry = EntryPoint("sneaky", f"sabotage:{cls.__name__}", index.GROUP)
    patch.setattr(index, "entry_points", lambda group: (entry,))


@pytest.mark.parametrize(
    "cls", [sabotage.ReadsData, sabotage.Swallows, sabotage.Scans, sabotage.LeavesOpen], ids=lambda c: c.__name__
)
def test_a_strict_run_stops(
    cls: type, tiny: Tiny, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the method swallows what the guard raised, and where Python does not see the reader."""
    third_party(monkeypatch, cls, secret)
    with pytest.raises(NoDataViolation, match=r"train\.safetensors"):
        run(tiny.settings("sneaky", OPTIONS), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert not (tmp_path / "run" / "student.safetensors").exists()


@pytest.mark.parametrize("sealed", [False, True])
def test_a_strict_run_that_reads_after_its_last_step_is_no_finished_one(
    sealed: bool, tiny: Tiny, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(monkeypatch, sabotage.ReadsInTheEnd, secret)
    with pytest.raises(NoDataViolation, match=r"train\.safetensors"):
        run(tiny.settings("sneaky", OPTIONS, sealed=sealed), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert [violation["path"] for violation in ledger["violations"]] == [str(secret)]
    assert ledger["processes"][-1]["ended"]
    if sealed:
        assert [record.event for record in chain.read(tmp_path / "run")] == ["begun", "broken", "stopped"]


def test_a_strict_run_that_was_moved_is_told_so_and_not_that_it_read_its_own_files(tiny: Tiny, tmp_path: Path) -> None:
    """They lie where the run does not know them."""
    out = tmp_path / "run"

    def move(step: int, _: object) -> None:
        if step == 2:
            out.rename(tmp_path / "moved")
            with contextlib.suppress(NoDataViolation):
                (tmp_path / "moved" / "run.json").read_bytes()

    with pytest.raises(SansdataError, match="moved or removed"):
        run(tiny.settings("noise", CASES["noise"].options, budget="6steps", strict=True), out, on_step=move)


@pytest.mark.parametrize("cls", [sabotage.ReadsData, sabotage.Scans], ids=lambda c: c.__name__)
def test_another_run_records(
    cls: type, tiny: Tiny, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(monkeypatch, cls, secret)
    run(tiny.settings("sneaky", OPTIONS, strict=False), tmp_path / "run")
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["mode"] == "record"
    assert {v["path"] for v in ledger["violations"]} == {str(secret)}


def test_the_violation_of_a_stopped_run_is_in_its_log(tiny: Tiny, secret: Path, tmp_path: Path) -> None:
    settings = tiny.settings("sneaky", OPTIONS)
    config = tiny.config(settings, folder=tmp_path)
    job = distil(config, tmp_path / "run", before=[("third_party", "sneaky", "ReadsData", str(secret))])
    assert job.code == 1
    assert "NoDataViolation" in job.output
    assert str(secret) in job.output
    assert "Traceback" not in job.output
    assert str(secret) in (tmp_path / "run" / "events.log").read_text()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_what_a_stopped_or_killed_process_read_stays_in_the_ledger(
    sent: int, code: int, tiny: Tiny, secret: Path, tmp_path: Path
) -> None:
    """The process that continues reads nothing, and the run is still no clean one."""
    settings = tiny.settings("sneaky", OPTIONS, strict=False, engine={"checkpoint_seconds": 1e-6})
    config, out = tiny.config(settings, folder=tmp_path), tmp_path / "run"
    sneaky = ("third_party", "sneaky", "ReadsData", str(secret))
    assert distil(config, out, before=[sneaky, ("stop_after_move", 7, sent), ("no_report",)]).code == code
    job = distil(config, out, "--resume", before=[sneaky, ("no_report",)])
    assert job.code == 0, job.output
    ledger = json.loads((out / "ledger.json").read_text())
    assert [v["path"] for v in ledger["violations"]] == [str(secret)]
    assert [process["violations"] for process in ledger["processes"]] == [1, 0]
    assert [bool(process["ended"]) for process in ledger["processes"]] == [sent != signal.SIGKILL, True]
    assert {"checkpoints", "config.yaml"} < {Path(f["path"]).relative_to(out).parts[0] for f in ledger["files"]
                                             if f["role"] == "run"}  # fmt: skip
    assert seal(read_run(out))[0] == "1 undeclared read"


@pytest.mark.parametrize("strict", [True, False])
def test_evaluation_inside_a_run(strict: bool, tiny: Tiny, tmp_path: Path) -> None:
    """Refused in a strict run, and never silent."""

    def peek(step: int, _: Any) -> None:
        if step == 4:
            evaluate(make_module(), tiny.data, task=tiny.task)

    settings = tiny.settings("noise", CASES["noise"].options, strict=strict)
    if strict:
        with pytest.raises(NoDataViolation, match=r"data\.npz"):
            run(settings, tmp_path / "run", on_step=peek)
    else:
        run(settings, tmp_path / "run", on_step=peek)
        ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
        assert str(tiny.data) in {v["path"] for v in ledger["violations"]}


def test_after_the_seal_data_may_be_read(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.settings("noise", CASES["noise"].options), tmp_path / "run")
    assert evaluate(tmp_path / "run", tiny.data).count == 40
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["violations"] == []
    assert str(tiny.data) not in {f["path"] for f in ledger["files"]}
