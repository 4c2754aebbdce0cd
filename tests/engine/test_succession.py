"""A second student of a teacher, which begins with the generator and the images of the first one's run."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
import torch
from safetensors.torch import load_file
from tiny import Tiny, differing

from sansdata.api.distill import plan_only
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.engine.succession import begin_with, files_of
from sansdata.errors import ConfigError, Interrupted, MethodError, UserError
from sansdata.methods.fm import FM
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher
from sansdata.testing.worlds import make_module, make_student, make_task

HOSTILE = hostile_runs.hostile()
OPTIONS = {
    "latent": 8, "width": 8, "batch": 8, "k": 2, "warmup_rounds": 2, "steps_per_round": 2, "pool": 64,
    "transfer": {"batch": 8},
}  # fmt: skip


@pytest.fixture(scope="module")
def first(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(settings(tiny), tmp_path_factory.mktemp("first") / "run")


def settings(tiny: Tiny, options: dict[str, Any] | None = None, **fields: Any) -> Any:
    return tiny.settings("fm", {**OPTIONS, **(options or {})}, **fields)


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())


def session() -> Session:
    config = method_config("fm", "default", OPTIONS)
    return Session(FM, config, Teacher.from_module(make_module(), make_task()), make_student(), make_task(), Runtime())


def test_what_was_lent_is_what_the_earlier_run_ended_with(first: Path):
    later = session()
    note = begin_with(later, first, manifest(first))
    assert note.startswith("begins with the generator, optimizer, bn, pool of ")
    (kept,) = first.glob("checkpoints/step-000000008*")
    saved = load_file(kept / "rank-0.safetensors")
    images = next(value for name, value in saved.items() if name.startswith("method.pool") and value.ndim == 4)
    pool = later.method.state()["pool"].state_dict()
    assert pool["added"] == 8 * 6  # two rounds of warm-up and four with steps
    assert torch.equal(pool["images"], images)
    assert later.moves == 0
    assert not later.optimizer.state, "the student's own optimizer begins with nothing"


def test_a_second_student_needs_no_warm_up_and_its_ledger_names_the_first_run(tiny: Tiny, first: Path, tmp_path: Path):
    out = run(settings(tiny, images_of=str(first), seed=1, student="shrink:0.25"), tmp_path / "run")
    moves = [json.loads((each / "plan.json").read_text())["moves"]["acquire"] for each in (first, out)]
    assert moves == [6, 4]
    assert "begins with the generator" in (out / "events.log").read_text()
    ledger = json.loads((out / "ledger.json").read_text())
    assert ledger["violations"] == []
    roles = {entry["role"] for entry in ledger["files"]}
    assert "earlier run" in roles


def test_it_resumes_bitwise_when_the_first_run_is_gone(tiny: Tiny, first: Path, tmp_path: Path):
    earlier = shutil.copytree(first, tmp_path / "first")
    later = settings(tiny, images_of=str(earlier), seed=1)
    whole = run(later, tmp_path / "whole")

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(later, tmp_path / "stopped", on_step=stop)
    shutil.rmtree(earlier)
    out = run(later, tmp_path / "stopped", resume=True)
    assert differing(*(load_file(each / "student.safetensors") for each in (whole, out))) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("method", "cmi", "had another method: cmi"),
        ("teacher", {"fingerprint": "0"}, "had another teacher"),
        ("task", {}, "had another task"),
        ("world", 2, "had another number of processes: 2"),
    ],
)
def test_a_run_of_something_else_is_refused(first: Path, tmp_path: Path, key: str, value: Any, message: str):
    other = shutil.copytree(first, tmp_path / "other")
    changed = manifest(first) | {key: value}
    (other / "run.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=message):
        begin_with(session(), other, manifest(first))


def test_a_dry_run_looks_at_the_earlier_run_as_the_run_does(tiny: Tiny, first: Path, tmp_path: Path):
    other = shutil.copytree(first, tmp_path / "other")
    later = settings(tiny, images_of=str(other), budget="2steps")
    assert plan_only(later)["plan"]["steps"] == 2
    with pytest.raises(ConfigError, match=r"'method.generator' does not fit"):
        plan_only(settings(tiny, {"latent": 9}, images_of=str(other), budget="2steps"))
    shutil.rmtree(other / "checkpoints")
    with pytest.raises(ConfigError, match="holds no whole checkpoint"):
        plan_only(later)


def test_other_settings_than_the_earlier_ones_are_refused(tiny: Tiny, first: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'method.generator' does not fit .* settings that it had there"):
        run(settings(tiny, {"latent": 9}, images_of=str(first)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_torn_or_a_missing_checkpoint_is_refused(first: Path, tmp_path: Path):
    other = shutil.copytree(first, tmp_path / "other")
    for file in other.glob("checkpoints/step-*/rank-0.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"holds no whole checkpoint\. .*torn"):
        begin_with(session(), other, manifest(first))
    shutil.rmtree(other / "checkpoints")
    with pytest.raises(ConfigError, match=r"holds no whole checkpoint\. It was taken away"):
        begin_with(session(), other, manifest(first))


def test_links_are_no_part_of_it(first: Path, tmp_path: Path):
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    (other / "run.json").symlink_to(first / "run.json")
    (other / "checkpoints" / "step-000000001").symlink_to(first / "checkpoints")
    assert files_of(other) == {}
    assert files_of(tmp_path / "gone") == {}


@pytest.mark.parametrize("name", [n for n in HOSTILE if "checkpoint" in n or "run.json" in n or "rank" in n])
def test_a_prepared_directory_is_used_or_refused(name: str, first: Path, tmp_path: Path):
    other = Path(shutil.copytree(first, tmp_path / "other"))
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_bytes(b"canary")
    HOSTILE[name](other, canary)
    with contextlib.suppress(UserError):
        files_of(other)
        begin_with(session(), other, manifest(first))
    assert [path.name for path in canary.iterdir()] == ["file"]


def test_a_method_that_lends_nothing_says_so(tiny: Tiny, first: Path, tmp_path: Path):
    with pytest.raises(MethodError, match="makes nothing that another student could begin with"):
        run(tiny.settings("noise", images_of=str(first)), tmp_path / "run")


@pytest.mark.parametrize("other", [{"options": {"view": "crop"}}, {"features": {"attention": 1.0}}])
def test_answers_of_the_first_run_are_asked_anew_where_the_second_sees_other_views(
    tiny: Tiny, tmp_path: Path, other: dict[str, Any]
) -> None:
    """The first run keeps the answers to its images as they are; the second moves them, or wants features too."""
    first = run(settings(tiny, {"view": "none"}), tmp_path / "first")
    fields = {name: value for name, value in other.items() if name != "options"}
    out = run(
        settings(tiny, {"view": "none"} | other.get("options", {}), images_of=str(first), seed=1, **fields),
        tmp_path / "second",
    )
    assert json.loads((out / "run.json").read_text())["status"] == "done"
