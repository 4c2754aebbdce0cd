"""The examples run: a program, and a method in a package of its own that is not installed here."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
import torch

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import ConfigError
from sansdata.methods import index
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.tasks import KNOWN_TASKS

EXAMPLES = Path(__file__).parent.parent / "examples"
PACKAGE = EXAMPLES / "third_party_method"
TASK = KNOWN_TASKS["digits"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> str:
    """As `pip install` would: the package importable, its entry points known. Gives the method's name."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    own = [EntryPoint(name, value, index.GROUP) for name, value in project["entry-points"][index.GROUP].items()]

    def known(**asked: Any) -> list[EntryPoint]:
        return [*entry_points(**asked), *(own if asked.get("group") == index.GROUP else [])]

    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    monkeypatch.setattr(index, "entry_points", known)
    return own[0].name


def make_teacher() -> sansdata.Teacher:
    torch.manual_seed(0)
    return sansdata.Teacher.from_module(build(architecture_of("resnet8", TASK)), TASK)


def make_student() -> torch.nn.Module:
    return build(architecture_of("resnet8", TASK) | {"args": {"channels": 1, "classes": 10, "scale": 0.5}})


def session(name: str, **options: Any) -> Session:
    config = index.method_config(name, "default", {"transfer": {"batch": 16}, **options})
    return Session(index.find_method(name), config, make_teacher(), make_student(), TASK, Runtime(), 0, steps=8)


def test_a_third_party_method_is_listed_and_checked(installed: str) -> None:
    assert installed in index.method_names()
    assert sansdata.check(make_teacher())["methods"][installed] == []
    with pytest.raises(ConfigError, match="Did you mean 'start'"):
        index.method_config(installed, "default", {"strt": 0.1})


def test_a_third_party_method_distils_strictly(installed: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = sansdata.distill(
        make_teacher(), make_student(), installed, "6steps", out, strict=True, settings={"threads": 1},
        options={"transfer": {"batch": 16}},
    )  # fmt: skip
    assert result.summary["steps"] == 6
    assert result.cost["samples"] == result.cost["teacher_forwards"] == 96
    assert result.model(torch.rand(2, *TASK.shape)).shape == (2, 10)


def test_the_mix_moves_from_start_to_end(installed: str) -> None:
    run = session(installed, start=0.25, end=0.75)
    shares = []
    for _ in range(8):
        shares.append(run.method.fractal_images() / 16)  # type: ignore[attr-defined]
        run.move()
    assert shares[0] == 0.25
    assert shares == sorted(shares)
    assert 0.25 < shares[-1] <= 0.75


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_mix_may_be_pure(installed: str, start: float) -> None:
    run = session(installed, start=start, end=start)
    run.streams.begin(0)
    images = run.method.draw()  # type: ignore[attr-defined]
    assert images.shape == (16, *TASK.shape)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_the_same_seed_gives_the_same_student(installed: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        run = session(installed)
        run.advance(4)
        states.append(run.student.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_program_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("distill_from_python", EXAMPLES / "distill_from_python.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    result = program.main(str(tmp_path / "run"), budget="3steps")
    assert (result.run_dir / "student.pt2").is_file()
    assert "exported" in capsys.readouterr().out
