"""The example of a kind of input in a package of its own: a copy that is found as an installed one would be."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from packages import declare
from tiny import WORLDS, World, differing, student_of
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError, Interrupted, MethodError, TaskError
from sansdata.kinds.base import InputKind, OutputKind
from sansdata.kinds.index import input_kind, kind_names
from sansdata.network import Network
from sansdata.tasks.kinds import GROUP

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "examples" / "third_party_kind"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS = load(HERE / "kinds" / "test_kinds.py")
CONTRACT = [
    name for name, test in vars(KINDS).items()
    if name.startswith("test_") and KINDS.every_world.mark in getattr(test, "pytestmark", [])
]  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the copy; the package is importable and its entry point known. Forgotten afterwards."""
    copy = tmp_path_factory.mktemp("kind") / "third_party_kind"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((copy / "pyproject.toml").read_text())["project"]
    declare(copy / "src", project["name"], project["entry-points"][GROUP])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(copy / "src"))
        yield copy
    for name in [name for name in sys.modules if name.partition(".")[0] == "sansdata_series"]:
        del sys.modules[name]


@pytest.fixture
def task(example: Path) -> sansdata.Task:
    return sansdata.load_task(example / "waves.yaml")


def network(task: sansdata.Task, name: str) -> torch.nn.Module:
    """Of the example, with random weights that are always the same."""
    waves = importlib.import_module("sansdata_series.waves")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(waves, name)(task)


def teacher(task: sansdata.Task) -> sansdata.Teacher:
    module = network(task, "large")
    with torch.no_grad():
        module[-1].weight.mul_(20)  # answers that differ
    return sansdata.Teacher.from_module(module, task)


def test_the_kind_is_listed_and_says_which_methods_work(task: sansdata.Task) -> None:
    assert kind_names()["series"][0] == "third party"
    verdict = sansdata.check(teacher(task), student=network(task, "small"))
    assert verdict["takes"] == "series of 1 channel(s) and 64 samples"
    assert verdict["faults"] == []
    assert verdict["methods"]["noise"] == []
    assert verdict["methods"]["fm"] == ["its inputs are image, and the task's are series"]


def test_a_wrong_task_file_is_told_what_is_wrong(example: Path, tmp_path: Path) -> None:
    text = (example / "waves.yaml").read_text()
    for wrong, said in (
        (text.replace("length", "lenght"), "Did you mean 'length'"), (text.replace("-1.5, 1.5", "2, 1"), "lowest"),
        (text.replace("series", "serie"), "Did you mean 'series'"),
    ):  # fmt: skip
        (tmp_path / "wrong.yaml").write_text(wrong)
        with pytest.raises(TaskError, match=said):
            sansdata.load_task(tmp_path / "wrong.yaml")


@pytest.mark.parametrize("name", CONTRACT)
def test_the_kind_keeps_what_every_kind_keeps(name: str, task: sansdata.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waves(World):
        def module(self, scale: float = 1.0, seed: int = 0) -> torch.nn.Module:
            return network(task, "small")

    monkeypatch.setitem(WORLDS, "series", Waves(task, "none of the zoo"))
    monkeypatch.setitem(KINDS.STEMS, "series", torch.nn.Conv1d(7, 3, 1))
    getattr(KINDS, name)("series")


def test_the_contract_was_found() -> None:
    assert len(CONTRACT) >= 9


@pytest.mark.parametrize("kind", [InputKind, OutputKind])
def test_the_page_names_every_part_of_a_kind(kind: type) -> None:
    page = (HERE.parent / "docs" / "adding-a-kind.md").read_text()
    section = page.partition(f"Subclass `sansdata.kinds.base.{kind.__name__}`")[2].partition("\n## ")[0]
    own = [name for name in {**vars(kind), **kind.__annotations__} if not name.startswith("_") and name != "spec"]
    assert [name for name in own if not re.search(rf"`{name}[`(]", section)] == []


def test_what_is_drawn_fills_the_range_and_stays_within(task: sansdata.Task) -> None:
    kind = input_kind(task)
    for source in kind.sources:
        drawn = kind.draw(200, torch.Generator().manual_seed(0), source)
        assert isinstance(drawn, torch.Tensor)
        assert drawn.shape == (200, 1, 64)
        assert drawn.dtype == torch.float32
        assert drawn.abs().max() <= 1.5
        assert drawn.min() < -1.2
        assert drawn.max() > 1.2


def test_a_network_sees_the_range_as_minus_one_to_one(task: sansdata.Task) -> None:
    ends = torch.tensor([-1.5, 0.0, 1.5]).expand(2, 1, 3)
    assert torch.equal(Network.of(torch.nn.Identity(), task).preprocessor(ends)[0, 0], torch.tensor([-1.0, 0.0, 1.0]))
    other = task.seen_through({"centre": 1.5, "spread": 0.5})
    assert torch.equal(Network.of(torch.nn.Identity(), other).preprocessor(ends)[0, 0], torch.tensor([-6.0, -3.0, 0.0]))


def test_a_preview_is_the_graph(task: sansdata.Task) -> None:
    rising = torch.linspace(-1.5, 1.5, 64).expand(1, 1, 64)
    (graph,) = input_kind(task).preview(rising)
    pixels = graph.pixels[..., 0]  # type: ignore[union-attr]
    assert pixels.shape == (32, 64)
    assert pixels[-1, 0] < 128 < pixels[0, 0]
    assert pixels[0, -1] < 128 < pixels[-1, -1]


def test_the_program_distils_strictly_and_evaluates(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    result = load(example / "run.py").main(str(run), training=60, budget="60steps")
    assert "the student names" in capsys.readouterr().out
    figures = json.loads((run / "evaluation.json").read_text())
    assert figures["teacher_accuracy"] > 0.85, "the teacher's preprocessing or the waves changed"
    assert figures["accuracy"] > 0.42, "the student learnt nothing from the noise"
    assert json.loads((run / "ledger.json").read_text())["violations"] == []
    assert result.summary["unit"] == "series"
    page = (run / "report.html").read_text()
    assert "left out" not in page
    assert page.count("data:image/png") > 10, "the page shows no series"
    assert result.model(torch.zeros(2, 1, 64)).shape == (2, 3)
    kept = sansdata.evaluate(result, run / "kept.npz")
    assert kept.balanced_accuracy == pytest.approx(result.summary["agreement"]["last"], abs=0.1)  # y is the teacher's


def distil(task: sansdata.Task, out: Path, **more: Any) -> sansdata.Result:
    options = {"source": "steps", "transfer": {"batch": 16}}
    return sansdata.distill(
        teacher(task), network(task, "small"), "noise", "8steps", out, options=options, settings={"threads": 1}, **more
    )


def test_stopped_and_continued_is_bitwise_the_same(task: sansdata.Task, tmp_path: Path) -> None:
    distil(task, tmp_path / "whole")

    def stop(step: int, losses: Any) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        distil(task, tmp_path / "half", on_step=stop)
    distil(task, tmp_path / "half", resume=True)
    assert not differing(student_of(tmp_path / "whole"), student_of(tmp_path / "half"))


def test_the_command_knows_the_networks_of_the_package(task: sansdata.Task, example: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(teacher(task).module.state_dict(), tmp_path / "teacher.safetensors")
    job = ["--teacher", f"sansdata_series.waves:large@{tmp_path / 'teacher.safetensors'}",
           "--task", str(example / "waves.yaml")]  # fmt: skip
    out = str(tmp_path / "run")
    done = CliRunner().invoke(app, [
        "distill", *job, "--student", "sansdata_series.waves:small", "--method", "noise", "--budget", "4steps",
        "--threads", "1", "--strict", "--out", out, "source=steps", "transfer.batch=16",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output + repr(done.exception)
    trusted = f"sansdata_series.waves:small@{out}"  # code is run only where the user names it
    np.savez(
        tmp_path / "waves.npz",
        series=np.random.default_rng(0).normal(size=(5, 1, 64)).astype(np.float32),
        y=np.array([0, 1, 2, 0, 1]),
    )
    done = CliRunner().invoke(app, ["evaluate", trusted, "--data", str(tmp_path / "waves.npz")])
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert "5 samples" in done.output
    done = CliRunner().invoke(app, ["export", trusted, "--to", "pt2"])
    assert "same class on 100.00 %" in done.output


def test_wrong_noise_and_wrong_sets_are_refused(task: sansdata.Task, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="not drawn as 'fractal'; source is one of tones, steps, white"):
        sansdata.distill(
            teacher(task), network(task, "small"), "noise", "2steps", tmp_path / "run", options={"source": "fractal"}
        )
    with pytest.raises(ConfigError, match=r"no kind of input is drawn so; there are .*tones"):
        sansdata.distill(
            teacher(task), network(task, "small"), "noise", "2steps", tmp_path / "run", options={"source": "tone"}
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match=r"read from an .npz file with series and their classes y"):
        sansdata.evaluate(network(task, "small"), tmp_path / "waves.csv", task)
    np.savez(tmp_path / "short.npz", series=np.zeros((5, 1, 63), np.float32), y=np.zeros(5, np.int64))
    with pytest.raises(DataError, match=r"no series of the task: expected 'series' of finite floats \(N, 1, 64\)"):
        sansdata.evaluate(network(task, "small"), tmp_path / "short.npz", task)


OTHERS = """
from typing import ClassVar, Literal
from sansdata.kinds.base import InputKind
from sansdata.tasks import Side

class NoSpec(InputKind): ...

class ScaledSpec(Side):
    files: ClassVar[tuple[str, ...]] = ("scale",)
    kind: Literal["other"] = "other"
    scale: str = ""

class NotOfInputs:
    Spec = ScaledSpec
"""
TASK = {"inputs": {"kind": "other"}, "outputs": {"kind": "classes", "classes": 2}}


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the kind 'other' known at a place."""

    def make(place: str) -> None:
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "other_kinds.py").write_text(OTHERS)
        declare(tmp_path / "package", "other-kinds", {"other": place})
        monkeypatch.syspath_prepend(str(tmp_path / "package"))
        monkeypatch.delitem(sys.modules, "other_kinds", raising=False)

    return make


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("other_kinds:Missing", "does not load: .*Missing"),
        ("no_such_package:Kind", "does not load: .*No module named 'no_such_package'"),
        ("other_kinds:NoSpec", "needs a Spec: a tasks.Side with the field 'kind'"),
    ],
)
def test_a_broken_package_is_one_error(place: str, said: str, another: Callable[[str], None]) -> None:
    another(place)
    with pytest.raises(TaskError, match=f"kind 'other' of {place} {said}"):
        sansdata.load_task(TASK)
    assert "other" in kind_names()
    sansdata.check(WORLDS["tokens"].teacher())  # others go on as if it were not there


def test_a_kind_on_the_wrong_side_is_refused(another: Callable[[str], None]) -> None:
    another("other_kinds:NotOfInputs")
    with pytest.raises(TaskError, match=r"'other' stands among the task's inputs, .* is no InputKind"):
        input_kind(sansdata.load_task(TASK))


def test_files_that_a_third_partys_task_names_are_declared_and_kept(
    another: Callable[[str], None], tmp_path: Path
) -> None:
    another("other_kinds:NotOfInputs")
    file = tmp_path / "task.yaml"
    file.write_text("inputs: {kind: other, scale: scale.npy}\noutputs: {kind: classes, classes: 2}\n")
    task, named = sansdata.load_task(file), tmp_path / "scale.npy"
    assert task.files() == {named: "scale"}
    assert task.copies() == {named: "scale.npy"}
    kept = tmp_path / "run" / "scale.npy"
    kept.parent.mkdir()
    kept.touch()
    assert task.beside(kept.parent).inputs.scale == str(kept)
    named.touch()
    assert task.beside(kept.parent) == task
    assert sansdata.load_task(TASK).files() == {}
