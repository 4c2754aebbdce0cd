"""What a whole run writes of itself, and what a budget means to it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny import Tiny

from sansdata.engine.loop import Loop
from sansdata.engine.run import run
from sansdata.errors import Interrupted, ResumeError
from sansdata.models.tensor_file import read_safetensors

QUIET = {"sample_grids": 0, "images": 0}


def read(out: Path, name: str) -> Any:
    return json.loads((out / name).read_text())


def stopped_at(step: int) -> Any:
    def stop(made: int, _: Any) -> None:
        if made == step:
            signal.raise_signal(signal.SIGINT)

    return stop


def settings(tiny: Tiny, batch: int = 8, **fields: Any) -> Any:
    return tiny.settings("noise", {"transfer": {"batch": batch}}, **fields)


def test_each_agreement_in_the_log_is_of_the_student_at_that_step(tiny: Tiny, tmp_path: Path) -> None:
    engine = QUIET | {"snapshots": 3, "log_every": 5}
    out = run(settings(tiny, budget="12steps", engine=engine), tmp_path / "run")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 5, 8, 10, 12]
    followed = {line["step"]: line["agreement"] for line in lines if "agreement" in line}
    scored = {one["step"]: one["agreement"] for one in read(out, "summary.json")["selection"]["snapshots"]}
    assert followed.keys() == scored.keys() == {4, 8, 12}
    assert followed[12] == pytest.approx(scored[12])  # the samples of both are the same after the last step


@pytest.mark.parametrize(
    "part",
    [
        {"update": "retain", "retain": {"share": 1.0}},
        {"defence": "retrospect", "retrospect": {"share": 0.5, "rounds": 10}},
    ],
)
def test_a_budget_of_queries_holds_whatever_asks_beside_the_method(
    tiny: Tiny, tmp_path: Path, part: dict[str, Any]
) -> None:
    out = run(settings(tiny, budget="400queries", engine=QUIET, **part), tmp_path / "run")
    assert read(out, "plan.json")["queries"] is None  # no formula knows what they ask
    assert 0 < read(out, "summary.json")["cost"]["teacher_forwards"] <= 400


def test_a_begun_run_keeps_its_budget_and_its_learning_rate(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(settings(tiny, budget="8steps"), out, on_step=stopped_at(3))
    with pytest.raises(ResumeError, match="for a budget of 8 steps, not of 20 steps: continue it with the former one"):
        run(settings(tiny, budget="20steps"), out, resume=True, force=True)
    run(settings(tiny, budget="8steps"), out, resume=True)
    assert read(out, "run.json")["status"] == "done"


def test_forced_settings_of_the_optimiser_are_taken(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, decays = tmp_path / "run", []
    with pytest.raises(Interrupted):
        run(settings(tiny), out, on_step=stopped_at(3))
    heavier = tiny.settings("noise", {"transfer": {"batch": 8, "weight_decay": 0.25}})
    after = Loop._run

    def watched(self: Loop, request: Any) -> str:
        decays.append(self.session.optimizer.param_groups[0]["weight_decay"])
        return after(self, request)

    monkeypatch.setattr(Loop, "_run", watched)
    run(heavier, out, resume=True, force=True)
    assert decays == [0.25]


def test_a_truncated_student_says_how_many_steps_it_made(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "_budget_spent", lambda self: self.session.context.progress.steps >= 3)
    out = run(settings(tiny, budget="8steps"), tmp_path / "run")
    metadata = json.loads(read_safetensors(out / "student.safetensors")[1]["sansdata"])
    assert read(out, "run.json")["status"] == "truncated"
    assert metadata["provenance"]["steps"] == 3


def test_a_signal_behind_the_last_step_says_that_all_steps_are_saved(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Loop.check_reads

    def stop(self: Loop) -> None:
        if self.session.context.progress.steps == 8 and self.saved.endswith("8"):
            raise KeyboardInterrupt("SIGINT")
        looks(self)

    monkeypatch.setattr(Loop, "check_reads", stop)
    with pytest.raises(Interrupted, match="All steps are saved: --resume scores and writes the student"):
        run(settings(tiny), tmp_path / "run")
