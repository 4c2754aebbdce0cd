"""nan in every term, gradient, answer and draw: the run stops naming it, and what was saved can be continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sabotage
import torch
from cases import CASES, shapes
from processes import distil
from tiny import Tiny, differing, needs_pool, student_of, tensors

from sansdata.contracts import Losses
from sansdata.engine.checkpoint import find_fault
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import DivergedError
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher

EAGER = {"snapshots": 2, "sample_grids": 1, "log_every": 1, "checkpoint_seconds": 1e-6}
every_method = pytest.mark.parametrize("name", shapes(sorted(CASES)))


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    """Takes the sabotage back."""
    places = [(Losses, "add"), (Session, "move"), (Session, "__init__"), (Session, "_transfer"), (Runtime, "step"),
              (Teacher, "__call__"), (torch, "randn"), (torch, "rand")]  # fmt: skip
    before = [(owner, key, getattr(owner, key)) for owner, key in places]
    yield
    for owner, key, value in before:
        setattr(owner, key, value)


@pytest.fixture(scope="module")
def whole(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / name
            run(settings_of(tiny, name), made[name])
        return made[name]

    return get


def settings_of(tiny: Tiny, name: str) -> Any:
    return tiny.settings(name, CASES[name].options, engine=EAGER)


def stops(settings: Any, out: Path) -> str:
    """The run diverges; nothing that was saved holds a nan. Gives the message."""
    with pytest.raises(DivergedError) as caught:
        run(settings, out)
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    assert not (out / "student.safetensors").exists()
    kept = sorted((out / "checkpoints").glob("step-*"))
    for path in kept:
        assert find_fault(path) is None
        bad = [n for n, v in tensors(path / "rank-0.safetensors").items() if v.isnan().any()]
        assert bad == []
    return str(caught.value)


@every_method
def test_nan_in_each_term_is_named(name: str, whole: Callable[[str], Path], tiny: Tiny, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (whole(name) / "metrics.jsonl").read_text().splitlines()]
    terms = sorted(lines[-1]["losses"])
    assert terms
    for i, term in enumerate(terms):
        with pytest.MonkeyPatch.context() as patch:
            for owner, key in ((Losses, "add"), (Session, "move")):
                patch.setattr(owner, key, getattr(owner, key))
            once = term.startswith(("score/", "weigh/", "transfer/warmup", "acquire/gaps"))  # over before move 4
            sabotage.nan_in_term(term, from_move=1 if once else 4)
            message = stops(settings_of(tiny, name), tmp_path / str(i))
        assert term in message.partition(" is not finite")[0]  # later steps of the same move may add others
        assert "Lower" in message


@every_method
def test_nan_in_the_students_gradient(name: str, whole: Callable[[str], Path], tiny: Tiny, tmp_path: Path) -> None:
    """The step is taken before a loss shows it: no checkpoint may be written in between, and the last one continues
    to the end that the run would have had."""
    reference = whole(name)  # before the sabotage: the first test to ask for it runs it
    sabotage.nan_in_gradient(from_step=4)
    message = stops(settings_of(tiny, name), tmp_path / "run")
    assert "student" in message
    config = tiny.config(settings_of(tiny, name), folder=tmp_path)
    job = distil(config, tmp_path / "run", "--resume", before=[("no_report",)])
    assert job.code == 0, job.output
    assert differing(student_of(tmp_path / "run"), student_of(reference)) == []


@every_method
def test_nan_in_the_gradient_of_the_last_step(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """No loss is left to show it."""
    sabotage.nan_in_gradient(from_step=7)
    settings = tiny.settings(name, CASES[name].options)
    assert "not finite" in stops(settings, tmp_path / "run")


BY_CAPABILITY = {
    "boot/noise", "fair4free/decoded", "fair4free/latents", "zerogen/writer", "zerogen/writer-of-two",
    "zerogen-qa/asker",
}  # fmt: skip
"""Rows that never call their teacher: they ask what it can do besides, to denoise, to draw latents, to write."""


@pytest.mark.parametrize("name", shapes(sorted(CASES.keys() - BY_CAPABILITY)))
def test_nan_from_the_teacher(name: str, tiny: Tiny, tmp_path: Path) -> None:
    sabotage.nan_in_teacher(from_step=4)
    message = stops(settings_of(tiny, name), tmp_path / "run")
    assert "not finite" in message or "not a number" in message


NEVER_NAN = {
    "af-stip/tokens",
    "as-dfd/tokens",
    "echo-dfkd/clips",
    "noise/tokens",
    "tabkd/table",
    "zerogen/writer",
    "noise/two-texts",
    "noise/spans",
    "promptdfd/worded",
    "zerogen/writer-of-two",
    "zerogen-qa/asker",
}
"""A token is never nan, and so is no step of what is drawn by chance among words, rules or phases of a heart; a row of
the source 'skewed' has the lowest value where its draw is no number."""


@pytest.mark.parametrize("name", shapes(sorted(name for name in CASES if not (needs_pool(name) or name in NEVER_NAN))))
def test_nan_in_what_is_drawn(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """Methods that take their images from a pool draw no noise."""
    sabotage.nan_in_noise(from_move=3)
    message = stops(settings_of(tiny, name), tmp_path / "run")
    assert "not finite" in message or "not a number" in message


def test_the_command_says_it_in_a_line(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(settings_of(tiny, "noise"), folder=tmp_path)
    job = distil(config, tmp_path / "run", before=[("nan_in_term", "transfer/match", 4)])
    assert job.code == 1
    assert "DivergedError: transfer/match is not finite at move 4" in job.output
    assert "Traceback" not in job.output
    assert distil(config, tmp_path / "run", "--resume", before=[("no_report",)]).code == 0
